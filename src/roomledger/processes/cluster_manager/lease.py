"""The lease: which of several managers tries to be the active one.

It is a key-value entry that expires unless it is renewed.  It says who tries; that no two ever decide is the
log's expected sequence (`runtime.writer`).

Those who wait need not always wait for it to expire.  A holder listens under its name as long as it is
connected, so that the server itself tells when it is gone: nobody is there to answer.  One that is halted, or
whose machine lost its power, keeps the lease until it expires.  A holder that gives it up says so.
"""

import asyncio
import contextlib
from typing import Final

import msgspec
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as BrokerError
from nats.errors import NoRespondersError
from nats.js.errors import APIError, NotFoundError
from nats.js.errors import Error as JetStreamError

from roomledger.event_store.errors import LogUnavailable

TTL_S: Final = 3
RENEW_S: Final = 1.0
POLL_S: Final = 0.2
GONE_S: Final = 1.0
"""A holder that is not connected for so long has gone: longer than it takes to reconnect."""
KEY: Final = "cluster-manager"
_TIMEOUT_S: Final = 1.0

log = structlog.get_logger(__name__)


class _Entry(msgspec.Struct):
    manager: str


class Lease:
    """One manager's hold on being the active one, or its wait for it.

    Args:
        broker: The connection.
        bucket: The key-value bucket; it is created where it is not there.
        holder: The manager's id. One that finds an entry of its own, from before it was restarted, goes on
            with it at once.
        replicas: How many servers keep the bucket.
    """

    def __init__(self, broker: Client, *, bucket: str, holder: str, replicas: int = 1) -> None:
        self._broker = broker
        self._jetstream = broker.jetstream(timeout=_TIMEOUT_S)
        self._bucket = bucket
        self._subject = f"$KV.{bucket}.{KEY}"
        self._holder = holder
        self._replicas = replicas
        self._revision = 0
        self._notices = f"rpc.lease.{bucket}"
        self._given_up = asyncio.Event()

    async def prepare(self) -> None:
        """Create the bucket if it is not there, and listen as one who may hold the lease.

        Raises:
            LogUnavailable: The server did not answer, or refused.
        """
        config = {
            "name": f"KV_{self._bucket}",
            "subjects": [f"$KV.{self._bucket}.>"],
            "max_msgs_per_subject": 1,
            "discard": "new",
            "storage": "file",
            "num_replicas": self._replicas,
            "allow_msg_ttl": True,
            "allow_rollup_hdrs": True,
            "deny_delete": True,
            "allow_direct": True,
        }
        api = f"$JS.API.STREAM.CREATE.KV_{self._bucket}"
        try:
            answer = await self._broker.request(api, msgspec.json.encode(config), timeout=5)
        except BrokerError as error:
            raise LogUnavailable(f"creating {self._bucket}: {error}") from error
        failure = msgspec.json.decode(answer.data).get("error")
        if failure is not None:
            raise LogUnavailable(f"creating {self._bucket}: {failure.get('description')}")
        await self._broker.subscribe(self._notices, cb=self._on_given_up)
        await self._broker.subscribe(self._listens(self._holder), cb=_say_here)

    async def acquire(self) -> None:
        """Return once the lease is this manager's."""
        loop = asyncio.get_running_loop()
        seen: tuple[str | None, float] = (None, loop.time())
        while True:
            self._given_up.clear()
            try:
                holder, self._revision = await self._look()
                if holder != seen[0] or await self._is_there(holder):
                    seen = holder, loop.time()
                free = holder in {None, self._holder} or loop.time() - seen[1] >= GONE_S
                if free and await self._write():
                    return
            except (BrokerError, JetStreamError) as error:
                log.debug("the lease cannot be looked at", error=str(error))
                seen = None, loop.time()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._given_up.wait(), POLL_S)

    async def hold(self) -> None:
        """Renew the lease; return when it is lost, or could not be renewed for as long as it lasts."""
        loop = asyncio.get_running_loop()
        until = loop.time() + TTL_S
        while loop.time() < until:
            await asyncio.sleep(RENEW_S)
            renewed_at = loop.time()
            try:
                if not await self._write():
                    holder, self._revision = await self._look()
                    if holder not in {None, self._holder} or not await self._write():
                        return
                until = renewed_at + TTL_S
            except (BrokerError, JetStreamError) as error:
                log.debug("the lease cannot be renewed", error=str(error))

    async def release(self) -> None:
        """Give the lease up, so that another manager can have it at once."""
        headers = {
            "KV-Operation": "DEL",
            "Nats-TTL": f"{TTL_S}s",
            "Nats-Expected-Last-Subject-Sequence": str(self._revision),
        }
        try:
            await self._jetstream.publish(self._subject, b"", headers=headers)
            await self._broker.publish(self._notices)
        except (BrokerError, JetStreamError) as error:
            log.warning("the lease could not be given up: it runs out by itself", error=str(error))

    def _listens(self, holder: str) -> str:
        return f"{self._notices}.{holder}"

    async def _on_given_up(self, _: Msg) -> None:
        self._given_up.set()

    async def _is_there(self, holder: str | None) -> bool:
        """Whether a holder is connected, even if it does not answer."""
        if holder in {None, self._holder}:
            return True
        try:
            await self._broker.request(self._listens(str(holder)), timeout=POLL_S)
        except NoRespondersError:
            return False
        except TimeoutError:
            return True
        return True

    async def _look(self) -> tuple[str | None, int]:
        """Return who has the lease, None for nobody, and the entry's revision."""
        try:
            message = await self._jetstream.get_last_msg(f"KV_{self._bucket}", self._subject)
        except NotFoundError:
            return None, 0
        revision = message.seq or 0
        if not message.data:
            return None, revision
        return msgspec.json.decode(message.data, type=_Entry).manager, revision

    async def _write(self) -> bool:
        headers = {
            "Nats-TTL": f"{TTL_S}s",
            "Nats-Expected-Last-Subject-Sequence": str(self._revision),
        }
        body = msgspec.json.encode(_Entry(manager=self._holder))
        try:
            self._revision = (await self._jetstream.publish(self._subject, body, headers=headers)).seq
        except APIError as error:
            if error.err_code in {10071, 10164}:
                return False
            raise
        return True


async def _say_here(asked: Msg) -> None:
    await asked.respond(b"")
