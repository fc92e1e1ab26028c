"""Requests over a line of their own: for appends, which are many, and whose callers wait for each.

It is opened beside a connection when it is first needed, and anew after it was lost; until it is there, and
where none is possible, whoever asks takes the connection itself.
"""

import asyncio
from typing import Final

import structlog
from nats.errors import NoRespondersError

from roomledger.event_store.connection import Connection
from roomledger.event_store.line import Line, LineBroken, is_possible
from roomledger_events.identifiers import new_secret_id

CONNECT_S: Final = 2.0
AGAIN_S: Final = 1.0
"""How long after a line could not be opened it is tried again."""

_NOBODY: Final = b"NATS/1.0 503"

log = structlog.get_logger(__name__)


class RequestLine:
    """Sends requests and gets their answers.

    Args:
        connection: The one beside which the line is opened, to the same server.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._inbox = b"%b.%b." % (connection.inbox.encode(), new_secret_id().encode())
        self._asked = 0
        self._waiting: dict[bytes, asyncio.Future[bytes]] = {}
        self._line: Line | None = None
        self._opening: asyncio.Task[None] | None = None
        self._not_before = 0.0
        connection.on_lost.add(self.close)

    def ask(
        self, subject: str, header: bytes, body: bytes, deadline: float
    ) -> "asyncio.Future[bytes] | None":
        """Send a request; None if there is no line at the moment.

        The future ends with the answer; with `TimeoutError` if none came, or none can come any more; with
        `NoRespondersError` if nobody listens there.

        Args:
            subject: Where to.
            header: As it stands on the wire, from ``NATS/1.0`` to its end.
            body: What is sent.
            deadline: Until when to wait, by the loop's clock.
        """
        line = self._line
        if line is None:
            self._open_soon()
            return None
        self._asked += 1
        reply = b"%b%d" % (self._inbox, self._asked)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bytes] = loop.create_future()
        self._waiting[reply] = answer
        line.request_with_header(subject.encode(), reply, header, body)
        timer = loop.call_at(deadline, self._give_up, answer)

        def settle(_: asyncio.Future[bytes]) -> None:
            timer.cancel()
            del self._waiting[reply]

        answer.add_done_callback(settle)
        return answer

    def close(self) -> None:
        """End the line, and all that waits for an answer by it; the next request opens it anew."""
        if self._opening is not None:
            self._opening.cancel()
        line, self._line = self._line, None
        if line is not None:
            line.close()
        for answer in list(self._waiting.values()):
            if not answer.done():
                answer.set_exception(TimeoutError("the line was lost"))

    def _give_up(self, answer: "asyncio.Future[bytes]") -> None:
        """Wait no longer; a line that is silent may be dead."""
        if not answer.done():
            answer.set_exception(TimeoutError())
            self.close()

    def _open_soon(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._opening is None and now >= self._not_before and is_possible(self._connection):
            self._not_before = now + AGAIN_S
            self._opening = asyncio.create_task(self._open(), name="opening a line for requests")

    async def _open(self) -> None:
        def note_loss(_: str) -> None:
            if self._line is line:
                self.close()

        line = Line(self._receive, self._note_refusal, note_loss)
        try:
            await line.open(
                self._connection, name=f"{self._connection.options['name']} appending", within_s=CONNECT_S
            )
            line.subscribe(1, self._inbox + b"*")
            async with asyncio.timeout(CONNECT_S):
                await line.flush()
            self._line = line
        except (LineBroken, TimeoutError) as error:
            log.info("requests go by the connection itself", why=str(error) or "no answer")
        finally:
            self._opening = None
            if self._line is not line:
                line.close()

    def _receive(self, subject: bytes, _reply: bytes, header: bytes, body: bytes) -> None:
        answer = self._waiting.get(subject)
        if answer is None or answer.done():
            return
        if header.startswith(_NOBODY):
            answer.set_exception(NoRespondersError())
        else:
            answer.set_result(body)

    @staticmethod
    def _note_refusal(error: str) -> None:
        log.warning("nats-server reports an error", error=error)
