"""Tokens: a portal is reserved, the token is recorded, and only then is it handed out."""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import structlog

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.room import ROOM
from roomledger.domain.room_commands import RevokeToken
from roomledger.domain.signed_token import Claims, sign
from roomledger.event_store.errors import EventStoreError
from roomledger.event_store.store import EventStore
from roomledger.processes.management_api.known_rooms import KnownRoom
from roomledger.processes.management_api.requests import Once
from roomledger.processes.management_api.rooms import Rooms
from roomledger.runtime.calls import RequestMeta
from roomledger.runtime.commands import Meta
from roomledger.runtime.deciding import decide_once
from roomledger.runtime.projector import Known, Projector
from roomledger.runtime.token_keys import TokenKeys
from roomledger.sdk.cluster import Cluster, Scheduled
from roomledger.settings import Settings
from roomledger_events.envelope import Event
from roomledger_events.identifiers import new_id, new_secret_id
from roomledger_events.subjects import Boundary, Kind
from roomledger_events.tasks import Preference
from roomledger_events.tokens import TokenIssued
from roomledger_events.workers import WorkerInfo
from roomledger_projections import tokens as projected
from roomledger_projections.errors import ProjectionError
from roomledger_projections.projection import Row
from roomledger_projections.tokens import TOKENS

log = structlog.get_logger(__name__)

PURPOSE: Final = "portal"
RETRIED: Final = frozenset({Code.ALL_IN_FULL_LOAD, Code.NO_SUCH_PURPOSE, Code.NOT_READY, Code.BUSY})
"""Refusals that a portal which joins, or has room again, mends."""
_PAUSE_S: Final = 0.1
_ATTEMPT_S: Final = 0.5
_GIVE_BACK_S: Final = 1.0
_AT_ONCE: Final = 16


class Wish(NamedTuple):
    """What a token is asked for.

    Attributes:
        user: The name that the application gives.
        role: One of the room's.
        preference: Where the user is.
        traceparent: The W3C trace context of the request.
    """

    user: str
    role: str
    preference: Preference
    traceparent: str | None = None


class Issued(NamedTuple):
    """A token that may be used.

    Attributes:
        text: What the client is given.
        sequence: Where its `TokenIssued` stands in the log.
    """

    text: str
    sequence: int


class Tokens:
    """The tokens of all rooms.

    Args:
        store: The log.
        cluster: Who reserves portals.
        keys: What tokens are signed with.
        rooms: The rooms that tokens open.
        projector: Keeps what is known.
        settings: How long a token lives, and how long a request for one waits for a portal.
        source: This process, for the events' envelopes.
    """

    def __init__(
        self,
        store: EventStore,
        cluster: Cluster,
        keys: TokenKeys,
        *,
        rooms: Rooms,
        projector: Projector,
        settings: Settings,
        source: str,
    ) -> None:
        self._store = store
        self._cluster = cluster
        self._keys = keys
        self._rooms = rooms
        self._projector = projector
        self._settings = settings
        self._source = source
        self._giving_back: set[asyncio.Task[None]] = set()

    async def issue(self, service: str, room: str, wish: Wish, once: Once | None = None) -> Issued:
        """Return a token for a room of a service, once it is in the log.

        Args:
            service: Whose the room is.
            room: Which room.
            wish: What is asked for.
            once: What goes with a request that may be sent again.

        Raises:
            Refusal: There is no such room or role, or no portal takes the user.
            EventStoreError: The log cannot take it; the portal's reservation is given back.
        """
        found = await self._rooms.get(service, room)
        if not any(role.role == wish.role for role in found.settings.roles):
            raise Refusal(Code.INVALID_ROLE, f"the room has no role {wish.role!r}")
        await self._keys.refresh()
        token, code = (new_id(), new_secret_id()) if once is None else (once.id("token"), once.id("code"))
        meta = RequestMeta(correlation=token, actor=f"service:{service}", traceparent=wish.traceparent)
        portal = await self._reserve(code, wish.preference, meta)
        try:
            claims = _claims(token, code, found.id, portal.info)
            text = sign(self._keys.signing, claims)
            sequence = None
            if once is not None and once.again:
                row, _ = await self._find(token)
                sequence = None if row is None else int(row["issued_sequence"])
            if sequence is None:
                event = self._event(claims, found, wish, portal)
                sequence = await self._store.append(Boundary(Kind.TOKEN, found.id), [event], None)
        except BaseException:
            self._give_back(portal.worker, code, meta)
            raise
        return Issued(text, sequence)

    async def revoke(self, service: str, token: str, meta: Meta) -> int:
        """See to it that a token can never be used, and return the sequence since when.

        Raises:
            Refusal: There is no such token, or it is another service's (`INVALID_TOKEN`).
            EventStoreError: The log cannot be read or written.
        """
        row, _ = await self._find(token)
        if row is None or row["service"] != service:
            raise Refusal(Code.INVALID_TOKEN, f"there is no token {token}")
        room = row["room"]
        answer = await decide_once(
            self._store,
            Boundary(Kind.ROOM, room),
            ROOM,
            RevokeToken(token=token),
            meta,
            source=self._source,
            also=[Boundary(Kind.TOKEN, room)],
        )
        if row["state"] == "issued":
            sent = RequestMeta(correlation=token, actor=meta.actor, traceparent=meta.traceparent)
            self._give_back(row["portal"], row["code"], sent)
        return answer.sequence

    def give_back_of(self, room: str, deleted: int, meta: Meta) -> None:
        """Give the portals back that were reserved for a deleted room's tokens, while nobody waits for it.

        Args:
            room: Which room.
            deleted: The sequence since when there is no such room.
            meta: Who deleted it.
        """
        self._begin(self._unschedule_of(room, deleted, meta))

    async def _unschedule_of(self, room: str, deleted: int, meta: Meta) -> None:
        try:
            await self._projector.caught_up(deleted)
            found = await self._projector.ask(TOKENS, projected.voided_of, room, datetime.now(UTC))
        except (Refusal, EventStoreError, ProjectionError) as error:
            log.warning(
                "a deleted room's portals are not given back: that runs out", room=room, error=str(error)
            )
            return
        doors = asyncio.Semaphore(_AT_ONCE)

        async def give_back(row: Row) -> None:
            async with doors:
                sent = RequestMeta(correlation=row["id"], actor=meta.actor, traceparent=meta.traceparent)
                await self._unschedule(row["portal"], row["code"], sent)

        await asyncio.gather(*map(give_back, found.value))

    async def _find(self, token: str) -> Known[Row | None]:
        """Return a token as it is known, also one that was issued this very moment."""
        found = await self._projector.ask(TOKENS, projected.token, token, datetime.now(UTC))
        if found.value is None:
            head = await self._store.position()
            if head.sequence > found.sequence:
                await self._projector.caught_up(head.sequence)
                found = await self._projector.ask(TOKENS, projected.token, token, datetime.now(UTC))
        return found

    async def finish(self) -> None:
        """Return when no reservation is being given back any more."""
        if self._giving_back:
            await asyncio.wait(self._giving_back)

    async def _reserve(self, code: str, preference: Preference, meta: RequestMeta) -> Scheduled:
        """Have a portal reserved; what waiting can mend is waited for, for a bounded time."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._settings.token_retry_ms / 1000
        while True:
            try:
                return await self._cluster.schedule(
                    PURPOSE,
                    code,
                    preference,
                    reserve_ms=self._settings.token_life_ms,
                    # A refusal is remembered by its command, so each attempt is a command of its own. The
                    # task is the same: a portal that was reserved without our hearing of it is found again.
                    meta=_attempt(meta),
                    time_limit=max(_ATTEMPT_S, end - loop.time()),
                )
            except Refusal as refusal:
                pause = _PAUSE_S if refusal.retry_after_ms is None else refusal.retry_after_ms / 1000
                left = end - loop.time()
                if refusal.code not in RETRIED or left <= 0:
                    raise
                await asyncio.sleep(min(pause, left))

    def _event(self, claims: Claims, room: KnownRoom, wish: Wish, portal: Scheduled) -> Event:
        now = datetime.now(UTC)
        issued = TokenIssued(
            token=claims.token,
            code=claims.code,
            room=room.id,
            service=room.service,
            user=wish.user,
            role=wish.role,
            portal=portal.worker,
            # The reservation's end, so that both end together.
            expires_at=portal.expires_at or now + timedelta(milliseconds=self._settings.token_life_ms),
            origin=wish.preference,
            generation=room.generation,
        )
        return Event.of(
            issued,
            about=claims.token,
            id=new_id(),
            source=self._source,
            time=now,
            correlation=claims.token,
            actor=f"service:{room.service}",
            traceparent=wish.traceparent,
        )

    def _give_back(self, worker: str, code: str, meta: RequestMeta) -> None:
        """Give a reservation up that nobody will use, without making the caller wait for it."""
        self._begin(self._unschedule(worker, code, meta))

    def _begin(self, giving_back: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(giving_back)
        self._giving_back.add(task)
        task.add_done_callback(self._giving_back.discard)

    async def _unschedule(self, worker: str, code: str, meta: RequestMeta) -> None:
        try:
            async with asyncio.timeout(_GIVE_BACK_S):
                await self._cluster.unschedule(worker, code, _attempt(meta))
        except (Refusal, TimeoutError) as error:
            log.warning(
                "a reservation was not given back; it runs out by itself", worker=worker, error=str(error)
            )


def _attempt(meta: RequestMeta) -> RequestMeta:
    return RequestMeta(
        command=new_id(),
        correlation=meta.correlation,
        actor=meta.actor,
        traceparent=meta.traceparent,
    )


def _claims(token: str, code: str, room: str, info: WorkerInfo) -> Claims:
    host = info.via_host or _host(info)
    url = info.properties.get("url") or f"{'wss' if info.secure else 'ws'}://{host}/"
    return Claims(token=token, host=host, secure=info.secure, room=room, code=code, url=str(url))


def _host(info: WorkerInfo) -> str:
    name = info.hostname or info.ip
    if ":" in name:
        name = f"[{name}]"
    return name if info.port is None else f"{name}:{info.port}"
