"""What bodies and answers look like on the wire."""

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

from roomledger.domain.room_settings import LIMITS, MAX_LABEL, MAX_NAME, MAX_ROLES, MAX_VIEWS
from roomledger_events.identifiers import ID_PATTERN, check_id
from roomledger_events.rooms import Media, Role, RoomSettings, View
from roomledger_events.tasks import Preference

MAX_USER = 256
"""The longest name of a user, in characters."""
MAX_WORD = 64
"""The longest isp or region, in characters."""


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("half of a surrogate pair is no text") from error
    return text


Text = Annotated[str, AfterValidator(_encodable)]
Id = Annotated[str, AfterValidator(check_id), WithJsonSchema({"type": "string", "pattern": ID_PATTERN})]
Label = Annotated[Text, Field(min_length=1, max_length=MAX_LABEL)]
Word = Annotated[Text, Field(min_length=1, max_length=MAX_WORD)]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, alias_generator=to_camel)


class MediaShape(_Shape):
    """Which media may be sent or received."""

    audio: bool = False
    video: bool = False


class RoleShape(_Shape):
    """A role of a room, with what it may publish and subscribe."""

    role: Label
    publish: MediaShape = MediaShape()
    subscribe: MediaShape = MediaShape()

    def plain(self) -> Role:
        """Return it as events have it."""
        return Role(
            role=self.role,
            publish=Media(audio=self.publish.audio, video=self.publish.video),
            subscribe=Media(audio=self.subscribe.audio, video=self.subscribe.video),
        )


class ViewShape(_Shape):
    """A composed picture of a room."""

    label: Label


class RoomOptions(_Shape):
    """What can be set of a room; what is left out is the default."""

    participant_limit: Annotated[
        int, Field(ge=LIMITS[0], le=LIMITS[-1], description="0 or less means no limit")
    ] = -1
    roles: Annotated[list[RoleShape], Field(max_length=MAX_ROLES)] = []
    views: Annotated[list[ViewShape], Field(max_length=MAX_VIEWS)] = []


class NewRoom(_Shape):
    """The body of a request for a room."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "demo", "options": {"participantLimit": 10}}]}
    )

    name: Annotated[Text, Field(min_length=1, max_length=MAX_NAME)]
    options: RoomOptions | None = None

    def settings(self) -> RoomSettings:
        """Return them as events have them."""
        options = self.options or RoomOptions()
        return RoomSettings(
            name=self.name,
            participant_limit=options.participant_limit,
            roles=tuple(role.plain() for role in options.roles),
            views=tuple(View(label=view.label) for view in options.views),
        )


class RoomShape(_Shape):
    """A room as it is shown."""

    model_config = ConfigDict(populate_by_name=True)

    id: str
    name: str
    participant_limit: int
    roles: list[RoleShape]
    views: list[ViewShape]

    @classmethod
    def of(cls, room: str, settings: RoomSettings) -> Self:
        """Show a room by its settings."""
        roles = [
            RoleShape(role=role.role, publish=_media(role.publish), subscribe=_media(role.subscribe))
            for role in settings.roles
        ]
        views = [ViewShape(label=view.label) for view in settings.views]
        return cls(
            id=room,
            name=settings.name,
            participant_limit=settings.participant_limit,
            roles=roles,
            views=views,
        )


def _media(media: Media) -> MediaShape:
    return MediaShape(audio=media.audio, video=media.video)


class PreferenceShape(_Shape):
    """Where the user is, so that a portal nearby can be chosen."""

    isp: Word | None = None
    region: Word | None = None

    def plain(self) -> Preference:
        """Return it as events have it."""
        return Preference(isp=self.isp, region=self.region)


class NewToken(_Shape):
    """The body of a request for a token."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user": "ada", "role": "presenter"}]})

    user: Annotated[Text, Field(min_length=1, max_length=MAX_USER)]
    role: Label
    preference: PreferenceShape | None = None


class Paging(_Shape):
    """Which part of a list is wanted."""

    # What stands in a query is text.
    model_config = ConfigDict(strict=False, alias_generator=None)

    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    per_page: Annotated[int, Field(ge=1, le=1000)] = 100


class ProblemShape(BaseModel):
    """A problem (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
