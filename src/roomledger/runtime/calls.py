"""Calls between processes: NATS micro services with JSON bodies, and those who call them.

What a method is stands in `method`, how services answer in `service`; both can be had from here.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec
import nats.errors
from nats.aio.client import Client

from roomledger.domain.errors import Code, Refusal
from roomledger.runtime.method import ERROR_CODE, ErrorBody, Method, Nothing, Request, RequestMeta
from roomledger.runtime.service import Service, serve
from roomledger_events.identifiers import new_id

__all__ = ["Caller", "Method", "Nothing", "Reply", "Request", "RequestMeta", "Service", "serve"]

TIME_LIMIT_S: Final = 5.0
_RECONNECT_S: Final = 1.0
ATTEMPT_S: Final = 2.0
"""How long an attempt is waited for."""
IMPATIENT_S: Final = (0.5, 1.0)
"""How long the first two are waited for where one of several processes answers: a halted one may have got it,
and others would answer at once. To ask again costs little, since it is carried out once.
"""
_AGAIN: Final = frozenset({Code.NOT_READY})

Reply = TypeVar("Reply")


class Caller:
    """Calls services; a request that meets nobody is sent again until its time is over.

    Args:
        broker: The connection.
        actor: On whose behalf, where a call does not say it.
        time_limit: Seconds that a call may take.
        first_attempts: How long the first attempts are waited for, in seconds, where that is not `ATTEMPT_S`.
    """

    def __init__(
        self,
        broker: Client,
        *,
        actor: str,
        time_limit: float = TIME_LIMIT_S,
        first_attempts: Sequence[float] = (),
    ) -> None:
        self._broker = broker
        self._actor = actor
        self._time_limit = time_limit
        self._first_attempts = first_attempts

    async def call(
        self,
        subject: str,
        request: Request,
        reply: type[Reply],
        *,
        time_limit: float | None = None,
        absent: Code | None = None,
    ) -> Reply:
        """Send a request and return its reply.

        A request without a command id gets one, so that sending it again has no second effect.

        Args:
            subject: Where the service listens.
            request: What is asked.
            reply: What its answer has to look like.
            time_limit: Seconds that it may take in all.
            absent: The code of the refusal where nobody listens; None to wait for somebody who does.

        Raises:
            Refusal: The service refused; or nobody answered in time (``not_ready``), or the broker is out of
                reach (``log_unavailable``).
        """
        limit = self._time_limit if time_limit is None else time_limit
        loop = asyncio.get_running_loop()
        end = loop.time() + limit
        body = msgspec.json.encode(self._complete(request))
        pause, attempts = 0.01, iter(self._first_attempts)
        last: Refusal | None = None
        while (left := end - loop.time()) > 0 or last is None:
            if not self._broker.is_connected and not await self._connected(min(_RECONNECT_S, left)):
                raise Refusal(Code.LOG_UNAVAILABLE, "the broker is out of reach")
            patience = max(0.01, min(next(attempts, ATTEMPT_S), left))
            try:
                message = await self._broker.request(subject, body, timeout=patience)
            except nats.errors.NoRespondersError:
                if absent is not None:
                    raise Refusal(absent, f"nobody answers {subject}") from None
                last = Refusal(Code.NOT_READY, f"nobody answers {subject} at the moment")
            except (nats.errors.TimeoutError, nats.errors.Error) as error:
                last = Refusal(Code.NOT_READY, f"no answer from {subject} in time ({type(error).__name__})")
            else:
                if not message.headers or ERROR_CODE not in message.headers:
                    return msgspec.json.decode(message.data, type=reply)
                last = _refusal(message.data)
                if last.code not in _AGAIN:
                    raise last
            await asyncio.sleep(min(pause, max(0.0, end - loop.time())))
            pause = min(pause * 2, 0.25)
        raise last

    def _complete(self, request: Request) -> Request:
        meta = request.meta or RequestMeta()
        if meta.command is None or meta.actor is None:
            meta = msgspec.structs.replace(
                meta, command=meta.command or new_id(), actor=meta.actor or self._actor
            )
            return msgspec.structs.replace(request, meta=meta)
        return request

    async def _connected(self, seconds: float) -> bool:
        end = asyncio.get_running_loop().time() + seconds
        while not self._broker.is_connected:
            if self._broker.is_closed or asyncio.get_running_loop().time() >= end:
                return False
            await asyncio.sleep(0.02)
        return True


def _refusal(body: bytes) -> Refusal:
    error = msgspec.json.decode(body, type=ErrorBody)
    error.detail.pop("retry_after_ms", None)
    return Refusal(Code(error.code), error.message, **error.detail)
