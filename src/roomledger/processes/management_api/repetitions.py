"""Requests that are sent again: the same ``Idempotency-Key`` within ten minutes has one effect.

    unknown ──first request──▶ under way ──2xx──▶ answered       repeated with the same answer
                                         ──else─▶ open           carried out again
                                         ──dead─▶ open           after `HELD_S`

Entries are kept by the broker, so that this holds for all management APIs together and across their restarts.
An entry holds a seed from which all ids are made that the request leads to; so a request that is carried out
again, because nobody knows what became of it, finds what it made the first time.
"""

import asyncio
import hashlib
import re
from collections.abc import MutableMapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import msgspec
import structlog
from nats.aio.client import Client
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from roomledger.event_store.errors import LogUnavailable
from roomledger.processes.management_api.errors import Problem
from roomledger.processes.management_api.requests import Once
from roomledger.runtime.buckets import Bucket
from roomledger.settings import Settings
from roomledger_events.identifiers import new_secret_id

log = structlog.get_logger(__name__)

KEY: Final = "Idempotency-Key"
REPEATED: Final = "Idempotent-Replayed"
"""The header of an answer that was given before."""
METHODS: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
LIFE_S: Final = 600.0
HELD_S: Final = 15.0
"""How long a request may be under way; after that whoever carried it out is taken for dead."""
PATIENCE_S: Final = 10.0
"""How long a repeated request waits for the answer to the first one."""
_PAUSE_S: Final = 0.05
_key: Final = re.compile(r"[!-~]{1,255}").fullmatch
_SUCCESS: Final = range(200, 300)
_KEPT: Final = frozenset({b"content-type", b"location", b"cache-control", b"link"})


class _Answer(msgspec.Struct, frozen=True):
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    sequence: int | None


class _Entry(msgspec.Struct, frozen=True):
    fingerprint: str
    seed: str
    holder: str
    since: datetime
    open: bool = False
    answer: _Answer | None = None


class _Held(NamedTuple):
    """An entry of a request that is carried out here."""

    name: str
    entry: _Entry
    revision: int
    again: bool


class Repetitions:
    """Stands before the application, behind the doorway, which has read the body.

    Args:
        app: The application.
        broker: The connection.
        settings: Names the bucket.
    """

    def __init__(self, app: ASGIApp, broker: Client, settings: Settings) -> None:
        self._app = app
        self._bucket = Bucket(
            broker, f"{settings.log_name}_ANSWERS", replicas=settings.log_replicas, life_s=LIFE_S
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Carry a request out, or answer it as before (ASGI).

        Raises:
            Problem: The key is none (400) or is another request's (422), or the first one is under way (409).
            LogUnavailable: The broker did not answer.
        """
        key = Headers(scope=scope).get(KEY)
        if key is None or scope["method"] not in METHODS or "service" not in scope["state"]:
            await self._app(scope, receive, send)
            return
        if not _key(key):
            raise Problem(
                HTTPStatus.BAD_REQUEST, "invalid_argument", f"{KEY}: 1 to 255 visible characters of ASCII"
            )
        request = await receive()
        name = _digest(scope["state"]["service"], key)
        fingerprint = _digest(scope["method"], scope["path"], scope["query_string"], request["body"])
        held = await self._begin(name, fingerprint)
        if isinstance(held, _Answer):
            await _repeat(held, scope["state"], send)
            return
        scope["state"]["once"] = Once(held.entry.seed, held.again)
        await self._carry_out(held, scope, _receiving(request, receive), send)

    async def _begin(self, name: str, fingerprint: str) -> _Held | _Answer:
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE_S
        while True:
            now, holder = datetime.now(UTC), new_secret_id()
            found = await self._bucket.get(name)
            if found is None:
                entry = _Entry(fingerprint, new_secret_id(), holder, now)
                await self._bucket.create(name, msgspec.json.encode(entry))
                revision = await self._revision_of(name, entry)
                if revision is not None:
                    return _Held(name, entry, revision, again=False)
                continue
            entry = msgspec.json.decode(found.value, type=_Entry)
            if entry.fingerprint != fingerprint:
                raise Problem(
                    HTTPStatus.UNPROCESSABLE_ENTITY,
                    "idempotency_key_reused",
                    f"{KEY}: this key came with another request within the last ten minutes",
                )
            if entry.answer is not None:
                return entry.answer
            if entry.open or (now - entry.since).total_seconds() > HELD_S:
                entry = msgspec.structs.replace(entry, holder=holder, since=now, open=False)
                await self._bucket.update(name, msgspec.json.encode(entry), found.revision)
                revision = await self._revision_of(name, entry)
                if revision is not None:
                    return _Held(name, entry, revision, again=True)
                continue
            if loop.time() >= end:
                raise Problem(
                    HTTPStatus.CONFLICT,
                    "in_progress",
                    f"{KEY}: the first request with this key is still being carried out",
                    headers={"Retry-After": "1"},
                )
            await asyncio.sleep(_PAUSE_S)

    async def _revision_of(self, name: str, entry: _Entry) -> int | None:
        """Return the revision of an entry if it is this one, whatever became of the answer to its writing."""
        written = await self._bucket.get(name)
        if written is None or msgspec.json.decode(written.value, type=_Entry) != entry:
            return None
        return written.revision

    async def _carry_out(self, held: _Held, scope: Scope, receive: Receive, send: Send) -> None:
        messages: list[Message] = []

        async def note(message: Message) -> None:
            messages.append(message)

        answer: _Answer | None = None
        try:
            await self._app(scope, receive, note)
            answer = _answer(messages, scope["state"])
        finally:
            await self._end(held, answer)
        for message in messages:
            await send(message)

    async def _end(self, held: _Held, answer: _Answer | None) -> None:
        """Keep the answer, or let the request be carried out again."""
        kept = msgspec.structs.replace(held.entry, answer=answer, open=answer is None)
        try:
            await self._bucket.update(held.name, msgspec.json.encode(kept), held.revision)
        except LogUnavailable as error:
            log.warning("an answer is not kept; repeated, it will be made anew", why=str(error))


async def _repeat(answer: _Answer, state: MutableMapping[str, Any], send: Send) -> None:
    state["sequence"] = answer.sequence
    headers = [*answer.headers, (REPEATED.lower().encode(), b"true")]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def _answer(messages: list[Message], state: MutableMapping[str, Any]) -> _Answer | None:
    """Return the answer if it is one of success: any other has had no effect that is known of."""
    start = messages[0]
    if start["status"] not in _SUCCESS:
        return None
    headers = tuple((bytes(name), bytes(value)) for name, value in start["headers"] if name.lower() in _KEPT)
    body = b"".join(message.get("body", b"") for message in messages[1:])
    if body:
        headers = (*headers, (b"content-length", str(len(body)).encode()))
    return _Answer(start["status"], headers, body, state.get("sequence"))


def _receiving(request: Message, receive: Receive) -> Receive:
    first: Message | None = request

    async def receive_again() -> Message:
        nonlocal first
        message, first = first, None
        return await receive() if message is None else message

    return receive_again


def _digest(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()
