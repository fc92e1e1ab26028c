"""What the arguments of requests may look like: sizes and shapes of everything that comes from outside."""

from typing import Annotated

import msgspec

from roomledger_events.identifiers import Id
from roomledger_events.tasks import Preference
from roomledger_events.workers import Capacity, VideoCapacity, WorkerInfo

Word = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Words = Annotated[tuple[Word, ...], msgspec.Meta(max_length=1000)]
Load = Annotated[float, msgspec.Meta(ge=0, le=1)]
MaxLoad = Annotated[float, msgspec.Meta(gt=0, le=1)]
Milliseconds = Annotated[int, msgspec.Meta(ge=1, le=86_400_000)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Host = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Properties = Annotated[dict[Word, str | int | float | bool], msgspec.Meta(max_length=32)]
Tasks = Annotated[tuple[Id, ...], msgspec.Meta(max_length=10_000)]


class VideoArgument(VideoCapacity, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Codecs, as a request gives them."""

    encode: Words = ()
    decode: Words = ()


class CapacityArgument(Capacity, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A capacity, as a request gives it."""

    isps: Words = ()
    regions: Words = ()
    video: VideoArgument | None = None
    algorithms: Words = ()


class InfoArgument(WorkerInfo, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a worker tells of itself, as a request gives it."""

    ip: Host
    hostname: Host | None = None
    port: Port | None = None
    via_host: Host | None = None
    max_load: MaxLoad
    capacity: CapacityArgument = CapacityArgument()
    properties: Properties = msgspec.field(default_factory=dict)

    def plain(self) -> WorkerInfo:
        """Return it as events have it."""
        return msgspec.convert(self, WorkerInfo, from_attributes=True)


class PreferenceArgument(Preference, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A preference, as a request gives it."""

    isp: Word | None = None
    region: Word | None = None
    video: VideoArgument | None = None
    algorithm: Word | None = None

    def plain(self) -> Preference:
        """Return it as events have it."""
        return msgspec.convert(self, Preference, from_attributes=True)
