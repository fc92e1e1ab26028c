"""The description tells of everything that is there, with examples that are what they say."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from roomledger.processes.management_api.description import ALWAYS, REPEATABLE
from tests.processes.management_api.running import Running

PATHS = {
    ("POST", "/v1/rooms"),
    ("GET", "/v1/rooms"),
    ("GET", "/v1/rooms/{room}"),
    ("PUT", "/v1/rooms/{room}"),
    ("PATCH", "/v1/rooms/{room}"),
    ("DELETE", "/v1/rooms/{room}"),
    ("POST", "/v1/rooms/{room}/tokens"),
    ("DELETE", "/v1/tokens/{token}"),
    ("GET", "/v1/rooms/{room}/participants"),
    ("GET", "/v1/rooms/{room}/participants/{participant}"),
    ("PATCH", "/v1/rooms/{room}/participants/{participant}"),
    ("DELETE", "/v1/rooms/{room}/participants/{participant}"),
    ("GET", "/v1/cluster/workers"),
    ("GET", "/v1/cluster/workers/{worker}"),
    ("POST", "/v1/cluster/workers/{worker}/drain"),
    ("DELETE", "/v1/cluster/workers/{worker}/drain"),
    ("GET", "/v1/cluster/tasks/{purpose}/{task}"),
    ("GET", "/v1/cluster/tasks/{purpose}/{task}/explain"),
    ("GET", "/v1/state"),
    ("GET", "/v1/audit"),
    ("POST", "/services"),
    ("GET", "/services"),
    ("DELETE", "/services/{id}"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
}
OPEN = {"/healthz", "/readyz", "/metrics"}


@pytest.fixture
async def document(running: Running) -> dict[str, Any]:
    described: dict[str, Any] = (await running.client.get("/openapi.json")).json()
    return described


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


async def test_every_path_is_described(document: dict[str, Any]) -> None:
    assert set(operations(document)) >= PATHS


async def test_the_description_is_shown_to_people(running: Running) -> None:
    answer = await running.client.get("/docs")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "/openapi.json" in answer.text


async def test_every_guarded_path_tells_what_any_may_answer(document: dict[str, Any]) -> None:
    for (method, path), operation in operations(document).items():
        if path in OPEN:
            continue
        wanted = {*ALWAYS, *(() if method == "GET" else REPEATABLE)}
        assert {str(int(status)) for status in wanted} <= set(operation["responses"]), (method, path)
        assert operation["security"] == [{"serviceKey": []}, {"mauth": []}]
        names = {parameter["name"] for parameter in operation["parameters"]}
        assert "Ledger-Sequence" in names
        assert ("Idempotency-Key" in names) == (method != "GET")


async def test_every_answer_but_success_is_a_problem(document: dict[str, Any]) -> None:
    for operation in operations(document).values():
        for status, response in operation["responses"].items():
            assert response["description"]
            assert "Ledger-Sequence" in response["headers"]
            if int(status) >= 400:
                assert list(response["content"]) == ["application/problem+json"]


async def test_every_operation_says_what_it_does(document: dict[str, Any]) -> None:
    for operation in operations(document).values():
        assert operation["description"].endswith(".")
        assert operation["tags"]


async def test_every_example_is_what_it_is_an_example_of(document: dict[str, Any]) -> None:
    resource = Resource.from_contents(document, DRAFT202012)
    registry: Registry[Any] = Registry().with_resource("urn:api", resource)
    tried = 0
    for name, schema in document["components"]["schemas"].items():
        for example in schema.get("examples", ()):
            of = {"$ref": f"urn:api#/components/schemas/{name}"}
            Draft202012Validator(of, registry=registry).validate(example)
            tried += 1
    assert tried >= 12


async def test_every_body_has_an_example(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for key, operation in operations(document).items():
        body = operation.get("requestBody")
        if body is None:
            continue
        schema = body["content"]["application/json"]["schema"]
        schema = next((each for each in schema.get("anyOf", [schema]) if each.get("type") != "null"), schema)
        schema = schema.get("items", schema)
        assert schemas[schema["$ref"].rpartition("/")[2]]["examples"], key
