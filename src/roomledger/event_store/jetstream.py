"""The event store on a JetStream stream."""

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, Self

import msgspec
import structlog

from roomledger.event_store.connection import Connection
from roomledger.event_store.errors import Conflict, EventStoreError, LogFull, LogMismatch, LogUnavailable
from roomledger.event_store.layout import Layout, check_version
from roomledger.event_store.reading import SUBJECTS_KEPT, JetStreamLog, Patience
from roomledger.event_store.requests import (
    API,
    FULL,
    STREAM_NOT_FOUND,
    WRONG_LAST_SEQUENCE,
    ApiError,
    Requests,
)
from roomledger.event_store.store import check_append
from roomledger_events.envelope import MAX_BYTES, Commit, Event, encode
from roomledger_events.subjects import Boundary, Kind

log = structlog.get_logger(__name__)

_EXPECTED: Final = "Nats-Expected-Last-Subject-Sequence"
_EXPECTED_OF: Final = "Nats-Expected-Last-Subject-Sequence-Subject"
_ON_ITS_WAY_S: Final = 0.02
_HEADERS_BYTES: Final = 4096
_encode: Final = msgspec.json.Encoder().encode


class JetStreamStore(JetStreamLog):
    """The four verbs on one stream; made by `open`."""

    def __init__(
        self, requests: Requests, layout: Layout, patience: Patience, created: str, *, tidy: bool
    ) -> None:
        super().__init__(requests, layout, patience, created, tidy=tidy)
        self._subject = lru_cache(SUBJECTS_KEPT)(layout.subjects.of)
        self._ttl = {kind: f"{seconds}s" for kind, seconds in layout.ttls.items()}

    @classmethod
    async def open(
        cls,
        connection: Connection,
        layout: Layout = Layout(),  # noqa: B008  - immutable
        *,
        patience: Patience = Patience(),  # noqa: B008  - immutable
        create: bool = True,
    ) -> Self:
        """Open the log: create it where it is missing, otherwise check that it is kept as it has to be.

        It is never changed: that is for an administrator to do.

        Args:
            connection: The way to the server.
            layout: How the log is to be kept.
            patience: How long to wait for what.
            create: False for a user who may only read.

        Raises:
            ServerTooOld: The server cannot keep such a log.
            LogMismatch: The log is there and differs in what matters, or cannot be created like this.
            LogUnavailable: No answer came in time, or it is missing and is not to be created.
        """
        requests = Requests(connection, patience.attempt_s)
        info = await requests.ask("asking for JetStream", f"{API}.INFO", within_s=patience.limit_s)
        version = connection.connected_server_version
        check_version(f"{version.major}.{version.minor}.{version.patch}", info.get("api", {}).get("level", 0))
        found = await cls._create_or_find(requests, layout, patience.limit_s, create=create)
        differences = layout.differences(found["config"])
        if connection.max_payload < MAX_BYTES + _HEADERS_BYTES:
            needed = MAX_BYTES + _HEADERS_BYTES
            differences.append(
                f"the server's max_payload is {connection.max_payload}, at least {needed} is needed"
            )
        if differences:
            raise LogMismatch(layout.name, differences)
        return cls(requests, layout, patience, found["created"], tidy=create)

    @staticmethod
    async def _create_or_find(
        requests: Requests, layout: Layout, within_s: float, *, create: bool
    ) -> dict[str, Any]:
        what = f"opening {layout.name}"
        try:
            return await requests.ask(what, f"{API}.STREAM.INFO.{layout.name}", within_s=within_s)
        except ApiError as error:
            if error.number != STREAM_NOT_FOUND:
                raise LogUnavailable(f"{what} ({error})") from error
            if not create:
                raise LogUnavailable(f"{what} (there is no such log)") from error
        body = _encode(layout.configuration())
        try:
            made = await requests.ask(what, f"{API}.STREAM.CREATE.{layout.name}", body, within_s=within_s)
        except ApiError as error:
            # Perhaps somebody else has just created it, not quite the same: then say in what it differs.
            try:
                return await requests.ask(what, f"{API}.STREAM.INFO.{layout.name}", within_s=within_s)
            except ApiError:
                size = f"with max_bytes {layout.max_bytes} and {layout.replicas} replicas"
                raise LogMismatch(layout.name, [f"it cannot be created {size}: {error}"]) from error
        log.info("created the log", log=layout.name, max_bytes=layout.max_bytes, replicas=layout.replicas)
        return made

    # -- Append

    async def append(
        self,
        boundary: Boundary,
        events: Sequence[Event],
        expected: int | None,
        *,
        guard: tuple[Boundary, int] | None = None,
    ) -> int:
        """Store events together as one commit; see `EventStore.append`.

        Events without expectation that are appended again are recognized for the duplicate window only, and
        load reports not at all.
        """
        check_append(boundary, events, expected, guard)
        subject = self._subject(boundary)
        body = encode(events)
        headers = self._headers(boundary, events, expected, guard)
        what = f"appending to {boundary}"
        now = asyncio.get_running_loop().time
        deadline = now() + self._patience.limit_s
        on_its_way = False
        while True:
            try:
                answer = await self._requests.ask(
                    what, subject, body, headers=headers, within_s=deadline - now(), often=True
                )
                return int(answer["seq"])
            except LogUnavailable as error:
                raise LogUnavailable(
                    error.what, unknown_outcome=error.unknown_outcome or on_its_way
                ) from error
            except ApiError as error:
                failure = error
            where, wanted = guard or (boundary, expected)
            lost = failure.number in WRONG_LAST_SEQUENCE
            in_doubt = wanted is not None and (lost or failure.unknown_before)
            if in_doubt and await self._last(where, what) != wanted:
                sequence = await self._find(subject, events, expected, what)
                if sequence is not None:
                    return sequence
                if lost:
                    raise Conflict(where, wanted or 0)
            if not lost:
                raise self._refusal(failure)
            # Nobody has come in between: with several replicas it is refused while another attempt, perhaps
            # an earlier one of this very commit, is on its way.
            on_its_way = True
            if now() + _ON_ITS_WAY_S >= deadline:
                raise LogUnavailable(f"{what} (another attempt is on its way)", unknown_outcome=True)
            await asyncio.sleep(_ON_ITS_WAY_S)

    def _headers(
        self,
        boundary: Boundary,
        events: Sequence[Event],
        expected: int | None,
        guard: tuple[Boundary, int] | None,
    ) -> dict[str, str]:
        if expected is not None:
            return {_EXPECTED: str(expected)}
        headers = {}
        ttl = self._ttl.get(boundary.kind)
        if ttl is not None:
            headers["Nats-TTL"] = ttl
        if boundary.kind is not Kind.LOAD:  # a load report that is there twice says nothing else
            headers["Nats-Msg-Id"] = events[0].id
        if guard is not None:
            headers[_EXPECTED] = str(guard[1])
            headers[_EXPECTED_OF] = self._subject(guard[0])
        return headers

    def _refusal(self, error: ApiError) -> EventStoreError:
        if error.number in FULL:
            return LogFull(error.description)
        return LogMismatch(self.layout.name, [f"it refuses commits: {error}"])

    async def _find(
        self, subject: str, events: Sequence[Event], expected: int | None, what: str
    ) -> int | None:
        """Return the sequence of these events if they are the commit that followed the expected one.

        At most one commit can follow it, so this tells for certain whether it was this one.
        """
        if expected is None:
            return None
        found = await self._look(what, {"seq": expected + 1, "next_by_subj": subject})
        if found is not None and [event.id for event in found.events] == [event.id for event in events]:
            return found.sequence
        return None

    async def _last(self, boundary: Boundary, what: str) -> int:
        """Return the last sequence of a boundary, 0 for none."""
        subject = self._subject(boundary)
        found = await self._look(what, {"last_by_subj": subject})
        return 0 if found is None else found.sequence

    async def _look(self, what: str, query: dict[str, Any]) -> Commit | None:
        try:
            return await self._get(query)
        except LogUnavailable as error:
            raise LogUnavailable(f"{what} ({error.what})", unknown_outcome=True) from error
