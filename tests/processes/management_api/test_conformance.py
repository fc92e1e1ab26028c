"""Whatever is sent, right or wrong, gets an answer that the description tells of."""

import asyncio
import contextlib
import re
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

from roomledger.processes.management_api.authentication import Authentication
from roomledger.processes.management_api.mauth import Replays
from roomledger.settings import Settings
from tests.processes.management_api.running import Running, problem
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


SPEAKERS = [{"role": f"r{number}"} for number in range(10_000)]
WRONG: dict[str, tuple[str, str, object, int, str]] = {
    "a room that is a list": ("POST", "/v1/rooms", [1], 400, "invalid_argument"),
    "a room that is a number": ("POST", "/v1/rooms", 1, 400, "invalid_argument"),
    "a name of another type": ("POST", "/v1/rooms", {"name": {}}, 400, "invalid_argument"),
    "a limit that is a text": ("PATCH", "/v1/rooms/r1", {"participantLimit": "1"}, 400, "invalid_argument"),
    "a limit far below nothing": (
        *("PATCH", "/v1/rooms/r1", {"participantLimit": -(2**31) - 1}, 400, "invalid_argument"),
    ),
    "ten thousand roles": ("PUT", "/v1/rooms/r1", {"roles": SPEAKERS}, 413, "too_large"),
    "more roles than a room has": ("PUT", "/v1/rooms/r1", {"roles": SPEAKERS[:101]}, 400, "invalid_argument"),
    "a role of a megabyte": ("PUT", "/v1/rooms/r1", {"roles": [{"role": "r" * 10**6}]}, 413, "too_large"),
    "a role's name that is too long": (
        *("PUT", "/v1/rooms/r1", {"roles": [{"role": "r" * 65}]}, 400, "invalid_argument"),
    ),
    "a patch to a path that does not exist": (
        "PATCH",
        "/v1/rooms/r1/participants/ada",
        [{"op": "replace", "path": "/permission/publish/smell", "value": True}],
        400,
        "invalid_argument",
    ),
    "a patch of what has no such part": (
        "PATCH",
        "/v1/rooms/r1/participants/ada",
        [{"op": "replace", "path": "/permission/publish/audio/volume", "value": True}],
        400,
        "invalid_argument",
    ),
    "a service that is not there": ("DELETE", "/services/nobody", None, 404, "no_such_service"),
    "a token of another type": (
        "POST",
        "/v1/rooms/r1/tokens",
        {"user": 1, "role": []},
        400,
        "invalid_argument",
    ),
    "a token that is not there": ("DELETE", "/v1/tokens/nothing", None, 404, "invalid_token"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_what_is_wrong_gets_its_described_problem_and_leaves_nothing_behind(
    running: Running, case: str
) -> None:
    method, path, body, status, code = WRONG[case]
    await running.client.post("/v1/rooms", json={"name": "r1", "id": "r1"})
    before = await running.types()
    problem(await running.client.request(method, path, json=body), status, code)
    assert str(status) in await described(running, method, path)
    assert await running.types() == before
    assert (await running.client.get("/v1/rooms/r1")).status_code == 200


@pytest.mark.parametrize("case", ["an unknown service", "another's key", "other content", "used before"])
async def test_a_signed_header_that_is_wrong_gets_its_described_problem(running: Running, case: str) -> None:
    header = running.signed(
        service="nobody" if case == "an unknown service" else None,
        key="another" if case == "another's key" else None,
    )
    if case == "other content":
        header = header.replace("mauth_cnonce=4711", "mauth_cnonce=4712")
    if case == "used before":
        other = Authentication(running.api._services, Replays(running.broker, Settings()))
        await other.service(header)  # at another management API
    before = await running.types()
    answer = await running.client.post("/v1/rooms", json={"name": "x"}, headers={"Authorization": header})
    problem(answer, 401, "unauthenticated")
    assert "401" in await described(running, "POST", "/v1/rooms")
    assert await running.types() == before


@pytest.mark.parametrize("limit", [0, -1, -5, -(2**31)])
async def test_a_limit_of_nothing_or_less_means_no_limit_and_the_description_says_so(
    whole: Whole, limit: int
) -> None:
    room = await whole.room(participantLimit=limit)
    for participant in ("ada", "bob"):
        await whole.join(room, participant)
    assert (await whole.client.get(f"/v1/rooms/{room}")).json()["participantLimit"] == limit
    shapes = (await whole.client.get("/openapi.json")).json()["components"]["schemas"]
    assert "no limit" in shapes["RoomOptions"]["properties"]["participantLimit"]["description"]


async def described(running: Running, method: str, path: str) -> dict[str, Any]:
    """Return the answers that the description tells of for a method of the path that a request goes to."""
    paths: dict[str, Any] = (await running.client.get("/openapi.json")).json()["paths"]
    (found,) = (
        each
        for each in paths
        if re.fullmatch(re.sub(r"{\w+}", "[^/]+", each), path) and method.lower() in paths[each]
    )
    answers: dict[str, Any] = paths[found][method.lower()]["responses"]
    return answers


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
