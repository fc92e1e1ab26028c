"""A management API that runs, with what the tests about it need."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import httpx

from roomledger.event_store.connection import Connection, connect
from roomledger.event_store.jetstream import JetStreamStore, Patience
from roomledger.processes.management_api.api import ManagementApi
from roomledger.processes.management_api.mauth import signature
from roomledger.processes.management_api.services import Services
from roomledger.settings import Settings
from roomledger_events.envelope import Commit
from tests.support.nats import NatsServer
from tests.support.scheduling import Scheduling

PATIENCE = Patience(attempt_s=0.5, limit_s=1.0)


class Running:
    """A running management API on a real broker, and a caller of it."""

    def __init__(self, api: ManagementApi, broker: Connection, store: JetStreamStore) -> None:
        self.api = api
        self.server: NatsServer
        self.broker = broker
        self.store = store
        self.key = api.first_service.key
        self.scheduling = Scheduling()
        self.client = self.caller(self.key)
        self._clients = [self.client]

    @classmethod
    @asynccontextmanager
    async def on(cls, server: NatsServer, path: Path, **settings: Any) -> AsyncIterator[Self]:  # noqa: ANN401  - Settings'
        known = Settings(data_dir=path, api_port=0, **settings)
        broker = await connect(server.url, "service", server.credentials["service"])
        try:
            store = await JetStreamStore.open(broker, patience=PATIENCE)
            api = ManagementApi(known, broker, store)
            await api.start()
            try:
                running = cls(api, broker, store)
                running.server = server
                await running.scheduling.start(await server.connect())
                yield running
                for client in running._clients:
                    await client.aclose()
            finally:
                await api.stop()
        finally:
            await broker.close()

    def caller(self, key: str) -> httpx.AsyncClient:
        """Return a client that calls with a key."""
        client = httpx.AsyncClient(
            base_url=self.api.url, headers={"Authorization": f"Bearer {key}"}, timeout=15
        )
        if hasattr(self, "_clients"):
            self._clients.append(client)
        return client

    async def other_service(self) -> httpx.AsyncClient:
        """Return a client of another service."""
        await Services(self.broker, Settings()).create("other", "other-key")
        return self.caller("other-key")

    def signed(self, *, service: str | None = None, key: str | None = None) -> str:
        """Return a header as existing clients sign it."""
        timestamp = int(time.time() * 1000)
        return (
            "MAuth realm=http://example.com,mauth_signature_method=HMAC_SHA256"
            f",mauth_serviceid={service or self.api.first_service.id},mauth_cnonce=4711"
            f",mauth_timestamp={timestamp},mauth_signature={signature(key or self.key, f'{timestamp},4711')}"
        )

    async def room(self, **options: object) -> str:
        """Create a room and return its id."""
        answer = await self.client.post("/v1/rooms", json={"name": "Room one", "options": options})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def commits(self) -> list[Commit]:
        """Return all that is in the log."""
        return [commit async for commit in self.store.read()]

    async def types(self) -> list[str]:
        """Return the types of all events in the log."""
        return [event.type for commit in await self.commits() for event in commit.events]


def problem(answer: httpx.Response, status: int, code: str) -> str:
    """Check that an answer is a problem of this kind, and return what it says."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), (
        answer.text
    )
    body = answer.json()
    assert set(body) == {"type", "title", "status", "detail", "code"}
    assert (body["status"], body["code"]) == (status, code), body
    assert answer.headers["Ledger-Sequence"].isdecimal()
    return str(body["detail"])
