"""Whatever is sent, right or wrong, gets an answer that the description tells of."""

import asyncio
import contextlib
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import SearchStrategy
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi import checks

from tests.processes.management_api.whole import Whole

# schemathesis draws some bits by itself.
pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")

EXAMPLES = 4
"""How many requests are made of each kind, right and wrong, for each path and method."""
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]
KNOWN = {
    "room": ["r1", "r2"],
    "participant": ["p1", "p2"],
    "worker": ["portal-1"],
    "purpose": ["conference", "portal"],
    "task": ["r1"],
}
"""Ids of what is there; made up ones would find nothing."""


async def test_nothing_gets_an_answer_that_is_not_described(whole: Whole) -> None:
    for room in KNOWN["room"]:
        await whole.room(room)
        for participant in KNOWN["participant"]:
            await whole.join(room, f"{participant}")
    description = (await whole.client.get("/openapi.json")).json()
    sender = Sender(whole.api.url, whole.key)
    await asyncio.to_thread(sender.send_all, description)
    assert not sender.wrong, "\n\n".join(sender.wrong)
    assert sender.sent > 2 * EXAMPLES * len(description["paths"])
    assert {200, 201, 400, 404} <= sender.statuses
    assert (await whole.client.get("/readyz")).status_code == 200


async def test_an_answer_that_is_not_described_is_noticed(whole: Whole) -> None:
    description = (await whole.client.get("/openapi.json")).json()
    room = description["paths"]["/v1/rooms/{room}"]
    del room["get"]["responses"]["404"]
    only = {"/v1/rooms/{room}": {"get": room["get"]}}
    sender = Sender(whole.api.url, whole.key)
    await asyncio.to_thread(sender.send_all, description | {"paths": only})
    assert "404" in "".join(sender.wrong)


class Sender:
    """Sends requests of all kinds.

    Attributes:
        sent: How many.
        statuses: What they were answered with.
        wrong: What was wrong with answers. Nothing is raised meanwhile: what a request finds depends on those
            before it, so no failure can be looked for again.
    """

    def __init__(self, url: str, key: str) -> None:
        self.sent = 0
        self.statuses: set[int] = set()
        self.wrong: list[str] = []
        self._url = url
        self._key = key
        self._session = requests.Session()

    def send_all(self, description: dict[str, Any]) -> None:
        schema = schemathesis.openapi.from_dict(description)
        with self._session:
            for found in schema.get_all_operations():
                operation = found.ok()
                for mode in schemathesis.GenerationMode:
                    self._send_some(operation.as_strategy(generation_mode=mode), mode)

    def _send_some(self, cases: SearchStrategy[schemathesis.Case], mode: schemathesis.GenerationMode) -> None:
        right = mode is schemathesis.GenerationMode.POSITIVE

        @seed(1)
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        @given(case=cases, data=st.data())
        def send(case: schemathesis.Case, data: st.DataObject) -> None:
            for name, ids in KNOWN.items():
                if right and name in case.path_parameters and data.draw(st.booleans()):
                    case.path_parameters[name] = data.draw(st.sampled_from(ids))
            self._send(case)

        with contextlib.suppress(Unsatisfiable):  # nothing can be wrong about a request without arguments
            send()

    def _send(self, case: schemathesis.Case) -> None:
        headers = {"Authorization": f"Bearer {self._key}"}
        response = case.call(base_url=self._url, session=self._session, headers=headers)
        self.sent += 1
        self.statuses.add(response.status_code)
        try:
            case.validate_response(response, checks=CHECKS)
        except (FailureGroup, Failure) as failure:
            self.wrong.append(f"{case.operation.label}: {failure}")
