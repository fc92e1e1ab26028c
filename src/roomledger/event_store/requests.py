"""Requests to JetStream that outlast a lost connection, and tell whether an attempt may have got through."""

import asyncio
import contextlib
from typing import Any, Final

import msgspec
import nats.errors

from roomledger.event_store.connection import Connection
from roomledger.event_store.errors import LogUnavailable
from roomledger.event_store.request_line import RequestLine

API: Final = "$JS.API"
STREAM_NOT_FOUND: Final = 10059
NO_MESSAGE_FOUND: Final = 10037
SEQUENCE_NOT_FOUND: Final = 10043
WRONG_LAST_SEQUENCE: Final = frozenset({10071, 10164})
"""A lost race; with three replicas most are the second one."""
FULL: Final = frozenset({10002, 10023, 10028, 10047, 10077})
"""No room: of the account (10002), the server (10023, 10028, 10047), the stream (10077)."""

_UNAVAILABLE: Final = 503
_NO_LEADER: Final = frozenset({10007, 10009, 10041})
"""A cluster that is just choosing who leads: not assigned (10007), not leading (10009), Raft (10041)."""
_NEVER: Final = 3600.0
"""Longer than any attempt: the attempt's own deadline is what counts."""
_FIRST_PAUSE_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 0.5

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class ApiError(Exception):
    """What JetStream answered instead of doing what it was asked for.

    Attributes:
        number: JetStream's own error code, such as 10071.
        description: What it says, for people.
        unknown_before: Whether an earlier attempt of the same request may have been carried out.
    """

    def __init__(self, number: int, description: str, *, unknown_before: bool = False) -> None:
        self.number = number
        self.description = description
        self.unknown_before = unknown_before
        super().__init__(number, description)

    def __str__(self) -> str:
        return f"{self.description} ({self.number})"


def _passing_reason(failure: dict[str, Any], *, unknown_before: bool) -> str:
    """Return why JetStream cannot do it at the moment.

    Raises:
        ApiError: The reason does not pass by itself.
    """
    number, reason = failure.get("err_code", 0), str(failure.get("description", ""))
    passing = failure.get("code") == _UNAVAILABLE or number in _NO_LEADER
    if number in FULL or not passing:
        raise ApiError(number, reason, unknown_before=unknown_before)
    return reason


def _header(headers: dict[str, Any] | None) -> bytes:
    """Return headers as they stand on the wire."""
    fields = "".join([f"{name}: {value}\r\n" for name, value in (headers or {}).items()])
    return f"NATS/1.0\r\n{fields}\r\n".encode()


class Requests:
    """Asks JetStream, again and again until it answers or the time is up.

    Args:
        connection: The way to the server.
        attempt_s: How long to wait for one answer before the same is sent again, in seconds.
    """

    def __init__(self, connection: Connection, attempt_s: float) -> None:
        self.connection = connection
        self._attempt_s = attempt_s
        self._attempts: set[asyncio.Timeout] = set()
        self._line = RequestLine(connection)
        connection.on_lost.add(self._give_up_attempts)

    async def ask(
        self,
        what: str,
        subject: str,
        body: bytes = b"",
        *,
        headers: dict[str, Any] | None = None,
        within_s: float,
        often: bool = False,
    ) -> dict[str, Any]:
        """Send a request until an answer comes, and return the answer.

        Args:
            what: What is being tried, for people.
            subject: Where to.
            body: What is sent.
            headers: What goes with it.
            within_s: How long to try in all, in seconds.
            often: Whether such requests are many; they take the line, where there is one.

        Raises:
            ApiError: JetStream refused, for a reason that does not pass by itself.
            LogUnavailable: No answer came in time.
        """
        now = asyncio.get_running_loop().time
        deadline = now() + within_s
        pause = _FIRST_PAUSE_S
        reason = "it cannot be reached"
        unknown = False
        while await self._is_up(deadline):
            try:
                until = min(deadline, now() + self._attempt_s)
                asked = self._line.ask(subject, _header(headers), body, until) if often else None
                answer = _decode(await (asked or self._attempt(subject, body, headers, until)))
            except nats.errors.NoRespondersError:
                reason = "nobody keeps it there"
            except TimeoutError:
                reason, unknown = "no answer", True
            except nats.errors.Error as error:
                reason = str(error).removeprefix("nats: ")
            else:
                failure = answer.get("error")
                if failure is None:
                    return answer
                reason = _passing_reason(failure, unknown_before=unknown)
                unknown = True
            if self.connection.up.is_set():
                await asyncio.sleep(min(pause, max(0, deadline - now())))
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            if now() >= deadline:
                break
        if self.connection.is_closed:
            reason = "the connection is closed"
        raise LogUnavailable(f"{what} ({reason})", unknown_outcome=unknown)

    async def _is_up(self, deadline: float) -> bool:
        """Wait for the connection; False when it did not come back in time or is closed for good."""
        if not self.connection.up.is_set():
            try:
                async with asyncio.timeout_at(deadline):
                    await self.connection.up.wait()
            except TimeoutError:
                return False
        return not self.connection.is_closed

    async def _attempt(
        self, subject: str, body: bytes, headers: dict[str, Any] | None, deadline: float
    ) -> bytes:
        attempt = asyncio.timeout_at(deadline)
        self._attempts.add(attempt)
        try:
            async with attempt:
                answer = await self.connection.request(subject, body, _NEVER, headers=headers)
                # Before Python 3.12 wait_for, by which nats-py waits, swallows a cancellation that comes with
                # the answer.
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise asyncio.CancelledError
        finally:
            self._attempts.discard(attempt)
        return answer.data

    def _give_up_attempts(self) -> None:
        """End all attempts: what was asked over a connection that is lost will not be answered."""
        now = asyncio.get_running_loop().time()
        for attempt in self._attempts:
            with contextlib.suppress(RuntimeError):  # it is ending just now
                attempt.reschedule(now)
