"""A management API in a whole cluster: a real manager, a real conference worker, a worker as the portal."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import httpx

from roomledger.domain.errors import Refusal
from roomledger.domain.signed_token import read
from roomledger.processes.conference.conference import Conference as ConferenceWorker
from roomledger.processes.management_api.api import ManagementApi
from roomledger.processes.management_api.services import Services
from roomledger.sdk.rooms import Conference, Controller
from tests.support.cluster import TestCluster


class Whole:
    """The cluster, and a caller of its management API."""

    def __init__(
        self,
        cluster: TestCluster,
        conference: ConferenceWorker,
        api: ManagementApi,
        client: httpx.AsyncClient,
    ) -> None:
        self.cluster = cluster
        self.conference = conference
        self.api = api
        self.client = client
        self.key = api.first_service.key
        self._others: list[httpx.AsyncClient] = []

    @classmethod
    @asynccontextmanager
    async def of(cls, cluster: TestCluster, **settings: Any) -> AsyncIterator[Self]:  # noqa: ANN401  - Settings'
        await cluster.manager()
        conference = await cluster.conference()
        await cluster.worker("portal", "portal-1", port=8080)
        api: ManagementApi = await cluster.start(ManagementApi, **settings)
        headers = {"Authorization": f"Bearer {api.first_service.key}"}
        async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=15) as client:
            whole = cls(cluster, conference, api, client)
            yield whole
            for other in whole._others:
                await other.aclose()

    async def other_service(self) -> httpx.AsyncClient:
        """Return a client of another service."""
        services = Services(self.cluster.access.broker, self.cluster.settings())
        await services.create("other", "other-key-of-a-service")
        headers = {"Authorization": "Bearer other-key-of-a-service"}
        client = httpx.AsyncClient(base_url=self.api.url, headers=headers, timeout=15)
        self._others.append(client)
        return client

    async def room(self, room: str = "r1", **options: object) -> str:
        """Create a room and return its id."""
        answer = await self.client.post("/v1/rooms", json={"name": room, "id": room, "options": options})
        assert answer.status_code == 201, answer.text
        return room

    async def token(self, room: str, user: str = "ada", role: str = "presenter") -> str:
        """Return the id of a new token."""
        answer = await self.client.post(f"/v1/rooms/{room}/tokens", json={"user": user, "role": role})
        assert answer.status_code == 200, answer.text
        return read(answer.text)[0].token

    async def join(self, room: str, participant: str, token: str | None = None) -> str:
        """Let somebody join, as a portal does, and return where that stands in the log.

        Raises:
            Refusal: The room lets nobody in with this token.
        """
        broker, cluster = self.cluster.access.broker, self.cluster.cluster()
        token = token or await self.token(room, participant)
        worker = (await cluster.schedule("conference", room)).worker
        node = await Conference(broker, actor="test").get_node(worker, room)
        joined = await Controller(broker, actor="test").join(
            node, room, token, participant=participant, portal="portal-1"
        )
        return joined.seq

    async def refusal_of(self, room: str, participant: str, token: str) -> str:
        """Return why somebody is not let in."""
        try:
            await self.join(room, participant, token)
        except Refusal as refusal:
            return refusal.code
        raise AssertionError("it was let in")
