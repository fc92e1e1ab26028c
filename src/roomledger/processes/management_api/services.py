"""Services: who may call the management API.

They are kept in a key-value bucket: ``<id>`` holds a service with its key, ``key.<digest of the key>`` names
the service that a key belongs to (an id has no dot, so the two cannot meet), and ``first.service`` names the
one that `ensure_first` made. Keys are kept as they are, because existing clients sign with them; nothing here
ever logs one.
"""

import asyncio
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from http import HTTPStatus
from time import monotonic
from typing import Any, Final, NamedTuple

import msgspec
import structlog
from nats.aio.client import Client

from roomledger.event_store.errors import LogUnavailable
from roomledger.processes.management_api.errors import Problem
from roomledger.runtime.buckets import Bucket
from roomledger.settings import Settings
from roomledger_events.identifiers import check_id

log = structlog.get_logger(__name__)

KEY_BYTES: Final = 32
KNOWN_S: Final = 1.0
"""How long an answer is good without asking again: a service that was deleted is out after it."""
STALE_S: Final = 60.0
"""How long it may serve while the broker does not answer."""
KNOWN_MOST: Final = 10_000
_PATIENCE_S: Final = 2.0
_FIRST: Final = "first.service"


class Service(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A service; its key is in no representation of it.

    Attributes:
        id: Its id.
        key: Its key.
        name: What people call it.
        created: When it was created, UTC.
    """

    id: str
    key: str
    name: str | None = None
    created: datetime

    def __repr__(self) -> str:
        return f"Service({self.id!r})"


class First(NamedTuple):
    """The first service.

    Attributes:
        id: Its id.
        key: Its key.
        created: Whether it was created just now.
    """

    id: str
    key: str
    created: bool


class _Known(NamedTuple):
    service: Service | None
    since: float


class Services:
    """The services of the cluster.

    Args:
        broker: The connection.
        settings: Names the bucket, and perhaps the first service and its key.
        clock: Seconds, for how long an answer is good.
    """

    def __init__(self, broker: Client, settings: Settings, *, clock: Callable[[], float] = monotonic) -> None:
        self._bucket = Bucket(
            broker,
            f"{settings.log_name}_SERVICES",
            replicas=settings.log_replicas,
            time_limit=_PATIENCE_S,
        )
        self._clock = clock
        self._super = settings.super_service
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Service | None]] = {}

    async def ensure_first(self, settings: Settings) -> First:
        """Return the first service, created if need be; a key that the settings name becomes its key.

        Any number of processes may do so at the same time: one creates it.

        Raises:
            LogUnavailable: The broker did not answer.
        """
        service = settings.service_id or await self._first_id()
        wanted = None if settings.service_key is None else settings.service_key.get_secret_value()
        created = await self.create(service, wanted or secrets.token_urlsafe(KEY_BYTES))
        while True:
            entry = await self._bucket.get(service)
            if entry is None:
                raise LogUnavailable(f"the service {service} was deleted while it was created")
            kept = msgspec.json.decode(entry.value, type=Service)
            if wanted in {None, kept.key}:
                break
            changed = msgspec.structs.replace(kept, key=wanted)
            await self._bucket.update(service, msgspec.json.encode(changed), entry.revision)
            await self._bucket.delete(_index(kept.key))
        # Also where it was there: whoever created it may have been killed before it wrote the index.
        await self._bucket.put(_index(kept.key), service.encode())
        self._super = self._super or service
        return First(service, kept.key, created)

    async def create(self, service: str, key: str, *, name: str | None = None) -> bool:
        """Create a service unless there is one of this id; return whether it was created.

        Raises:
            InvalidId: The id is none.
            LogUnavailable: The broker did not answer; it may have been created.
        """
        value = Service(id=check_id(service), key=key, name=name, created=datetime.now(UTC))
        if not await self._bucket.create(service, msgspec.json.encode(value)):
            return False
        await self._bucket.put(_index(key), service.encode())
        return True

    def is_super(self, service: str) -> bool:
        """Whether a service may manage services: the first one, unless the settings name another."""
        return service == self._super

    def check_super(self, service: str) -> None:
        """Return if a service may manage services.

        Raises:
            Problem: It may not (403).
        """
        if not self.is_super(service):
            raise Problem(HTTPStatus.FORBIDDEN, "forbidden", "only the super-service may do this")

    async def add(self, service: str, key: str, *, name: str | None = None, again: bool = False) -> Service:
        """Create a service and return it.

        Args:
            service: Its id.
            key: Its key.
            name: What people call it.
            again: Whether this very service may have been created before.

        Raises:
            Problem: There is one of this id, or with this key (409).
            LogUnavailable: The broker did not answer; it may have been created.
        """
        there = await self._by_id(service)
        if there is not None and not (again and there.key == key):
            raise Problem(HTTPStatus.CONFLICT, "service_exists", f"there is a service {service}")
        if there is None and await self._by_index(_index(key)) is not None:
            raise Problem(HTTPStatus.CONFLICT, "service_exists", "there is a service with this key")
        if not await self.create(service, key, name=name):
            await self._bucket.put(_index(key), service.encode())
        created = await self._by_id(service)
        if created is None or created.key != key:
            raise Problem(HTTPStatus.CONFLICT, "service_exists", f"there is a service {service}")
        return created

    async def remove(self, service: str) -> None:
        """Delete a service other than the super-service. Its rooms stay.

        Raises:
            Problem: There is none (404), or it is the super-service (409).
            LogUnavailable: The broker did not answer; it may have been deleted.
        """
        if self.is_super(service):
            raise Problem(HTTPStatus.CONFLICT, "super_service", "the super-service cannot be deleted")
        if not await self.delete(service):
            raise Problem(HTTPStatus.NOT_FOUND, "no_such_service", f"there is no service {service}")

    async def list(self) -> list[Service]:
        """Return all services, the oldest first.

        Raises:
            LogUnavailable: The broker did not answer.
        """
        ids = [key for key in await self._bucket.keys() if "." not in key]
        found = await asyncio.gather(*map(self._by_id, ids))
        return sorted(
            (service for service in found if service is not None), key=lambda each: (each.created, each.id)
        )

    async def get(self, service: str) -> Service | None:
        """Return a service by its id, as it was at most `KNOWN_S` ago; None if there is none.

        Raises:
            LogUnavailable: The broker did not answer.
        """
        return await self._cached(service, self._by_id)

    async def delete(self, service: str) -> bool:
        """Delete a service; return whether there was one. Its rooms stay.

        Raises:
            LogUnavailable: The broker did not answer; it may have been deleted.
        """
        entry = await self._bucket.get(service)
        if entry is None:
            return False
        # The service first: a key that names none lets nobody in.
        await self._bucket.delete(service)
        await self._bucket.delete(_index(msgspec.json.decode(entry.value, type=Service).key))
        return True

    async def authenticate(self, key: str) -> Service | None:
        """Return the service that a key belongs to, as it was at most `KNOWN_S` ago; None for no service.

        Raises:
            LogUnavailable: The broker did not answer.
        """
        service = await self._cached(_index(key), self._by_index)
        if service is None or not hmac.compare_digest(service.key.encode(), key.encode()):
            return None
        return service

    async def _first_id(self) -> str:
        entry = await self._bucket.get(_FIRST)
        if entry is None:
            await self._bucket.create(_FIRST, f"service-{secrets.token_hex(4)}".encode())
            entry = await self._bucket.get(_FIRST)
            if entry is None:
                raise LogUnavailable("the first service was deleted while it was created")
        return entry.value.decode()

    async def _by_id(self, service: str) -> Service | None:
        entry = await self._bucket.get(service)
        return None if entry is None else msgspec.json.decode(entry.value, type=Service)

    async def _by_index(self, index: str) -> Service | None:
        entry = await self._bucket.get(index)
        return None if entry is None else await self._by_id(entry.value.decode())

    async def _cached(
        self, entry: str, ask: Callable[[str], Coroutine[Any, Any, Service | None]]
    ) -> Service | None:
        known = self._known.get(entry)
        age = STALE_S if known is None else self._clock() - known.since
        if known is not None and age < KNOWN_S:
            return known.service
        asking = self._asking.get(entry)
        if asking is None:
            asking = self._asking[entry] = asyncio.create_task(self._ask(entry, ask))
        try:
            # One request's end must not be the end of what others wait for as well.
            return await asyncio.shield(asking)
        except LogUnavailable:
            if known is None or known.service is None or age >= STALE_S:
                raise
            log.warning("the services cannot be looked up; going by what was known", seconds=round(age))
            return known.service

    async def _ask(
        self, entry: str, ask: Callable[[str], Coroutine[Any, Any, Service | None]]
    ) -> Service | None:
        try:
            service = await ask(entry)
            if service is None:
                # Wrong keys are not remembered: anybody can make up any number of them.
                self._known.pop(entry, None)
            else:
                self._known[entry] = _Known(service, self._clock())
                self._known.move_to_end(entry)
                if len(self._known) > KNOWN_MOST:
                    self._known.popitem(last=False)
            return service
        finally:
            del self._asking[entry]


def _index(key: str) -> str:
    return f"key.{hashlib.sha256(key.encode()).hexdigest()}"
