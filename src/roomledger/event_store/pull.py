"""Reads the log by an ephemeral pull consumer, which sends what it is asked for and numbers it.

The consumer lives in the server's memory and is gone when the server is.  Nothing is acknowledged, so what
got lost with a connection is not sent again; but the messages are numbered (in their reply subjects, ADR-15),
and a number that is missing, a heartbeat that stays out or a status that means the end interrupts it: then a
new consumer is made, from the last sequence on.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from roomledger.event_store.delivery import Delivery, Interrupted
from roomledger.event_store.layout import NANOSECONDS
from roomledger.event_store.requests import API, Requests
from roomledger_events.identifiers import new_id

BATCH: Final = 1000
"""Messages that are asked for at a time."""

BATCH_BYTES: Final = 4 * 1024 * 1024
"""And how many bytes they may have; at least two of the largest messages."""

INACTIVE_S: Final = 30
"""A consumer that nobody reads by any more is removed by the server after so many seconds."""

_EXPIRES_S: Final = 60
_HEARTBEAT, _NO_MESSAGES, _TIMED_OUT = "100", "404", "408"
_REQUEST_IS_OVER: Final = frozenset({"Message Size Exceeds MaxBytes", "Batch Completed"})
_encode: Final = msgspec.json.Encoder().encode


class PullConsumer:
    """One ephemeral consumer.

    Args:
        requests: The way to JetStream.
        log: The log's name.
        live: Whether to wait for more at the end of the log.
        heartbeat_s: How often the server shows that it is there while nothing comes, in seconds.
        tidy: Whether this user may remove the consumer; otherwise it is left to go by itself.

    Attributes:
        pending: How many messages matched when it was made.
    """

    def __init__(self, requests: Requests, log: str, *, live: bool, heartbeat_s: float, tidy: bool) -> None:
        self.pending = 0
        self._requests = requests
        self._connection = requests.connection
        self._log = log
        self._tidy = tidy
        self._silence_s = 2.5 * heartbeat_s
        self._name = new_id()
        self._inbox = self._connection.new_inbox()
        self._subscription: Subscription | None = None
        self._request = 0
        self._outstanding = 0
        self._received = 0
        self._last = 0
        self._buffer: list[Msg] = []
        self._something = asyncio.Event()
        self._interruption: str | None = None
        self._exhausted = False
        limits: dict[str, Any] = {"batch": BATCH, "max_bytes": BATCH_BYTES}
        if live:
            limits["expires"] = _EXPIRES_S * NANOSECONDS
            limits["idle_heartbeat"] = int(heartbeat_s * NANOSECONDS)
        else:
            limits["no_wait"] = True
        self._limits = _encode(limits)

    async def open(self, patterns: Sequence[str], start: int, *, within_s: float) -> None:
        """Make the consumer.

        Args:
            patterns: The subjects to read; none means all.
            start: The first sequence.
            within_s: How long to try, in seconds.

        Raises:
            ApiError: JetStream refused.
            LogUnavailable: No answer came in time.
        """
        self._connection.on_lost.add(self._lost)
        self._subscription = await self._connection.subscribe(f"{self._inbox}.*", cb=self._receive)
        made = await self._requests.ask(
            f"reading {self._log}",
            f"{API}.CONSUMER.CREATE.{self._log}.{self._name}",
            _encode(
                {
                    "stream_name": self._log,
                    "config": {
                        "name": self._name,
                        "filter_subjects": patterns,
                        "deliver_policy": "by_start_sequence",
                        "opt_start_seq": start,
                        "ack_policy": "none",
                        "replay_policy": "instant",
                        "mem_storage": True,
                        "num_replicas": 1,
                        "inactive_threshold": INACTIVE_S * NANOSECONDS,
                    },
                }
            ),
            within_s=within_s,
        )
        self.pending = made["num_pending"]

    async def take(self) -> Delivery | None:
        """Return the next messages in order, waiting for them; None at the end of the log, unless live.

        Raises:
            Interrupted: Something is missing or nothing comes any more.
        """
        while not self._buffer:
            if self._interruption is not None:
                raise Interrupted(self._interruption)
            if self._exhausted:
                return None
            if self._outstanding == 0:
                await self._ask_for_more()
            self._something.clear()
            try:
                async with asyncio.timeout(self._silence_s):
                    await self._something.wait()
            except TimeoutError:
                raise Interrupted(f"nothing was heard for {self._silence_s} s") from None
        received, self._buffer = self._buffer, []
        if self._outstanding == 0 and not self._exhausted and self._interruption is None:
            # The next ones travel while these are worked on.
            await self._ask_for_more()
        return self._read(received)

    async def close(self) -> None:
        """Remove the consumer from the server; it goes by itself where that does not succeed."""
        self._connection.on_lost.discard(self._lost)
        if self._subscription is None:
            return
        with contextlib.suppress(nats.errors.Error):  # the connection is closed or closing
            await self._subscription.unsubscribe()
            if self._tidy and self._connection.up.is_set():
                await self._connection.publish(f"{API}.CONSUMER.DELETE.{self._log}.{self._name}")

    async def _ask_for_more(self) -> None:
        self._request += 1
        self._outstanding = BATCH
        await self._connection.publish(
            f"{API}.CONSUMER.MSG.NEXT.{self._log}.{self._name}",
            self._limits,
            reply=f"{self._inbox}.{self._request}",
        )

    async def _receive(self, message: Msg) -> None:
        if message.subject.startswith(self._inbox):
            self._note_status(message)
        else:
            self._buffer.append(message)
            self._received += 1
            self._outstanding -= 1
        self._something.set()

    def _note_status(self, message: Msg) -> None:
        headers = message.headers or {}
        status, description = headers.get("Status", ""), headers.get("Description", "")
        if status == _HEARTBEAT:
            if int(headers.get("Nats-Last-Consumer", self._received)) > self._received:
                self._interruption = "messages got lost on the way"
            return
        if not message.subject.endswith(f".{self._request}"):
            return
        if status == _NO_MESSAGES:
            self._exhausted = True
        elif status != _TIMED_OUT and description not in _REQUEST_IS_OVER:
            self._interruption = f"{status} {description.strip()}"
        self._outstanding = 0

    def _lost(self) -> None:
        self._interruption = "the connection was lost"
        self._something.set()

    def _read(self, received: list[Msg]) -> Delivery:
        delivery = Delivery.numbered(
            ".".join([message.reply for message in received]),
            [message.subject for message in received],
            [message.data for message in received],
            self._last,
        )
        self._last += len(delivery)
        if len(delivery) < len(received):
            self._interruption = f"message {self._last + 1} of the consumer is missing"
            if not delivery:
                raise Interrupted(self._interruption)
        return delivery
