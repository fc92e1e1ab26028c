import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from roomledger.processes.management_api.metrics import Metrics
from tests.processes.management_api.running import Running

DOCUMENT = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()


def figures(text: str) -> dict[tuple[str, ...], float]:
    """Return the samples by name and labels' values."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_metric_has_a_line_in_the_document_and_every_line_a_metric() -> None:
    metrics = Metrics(lambda: 0)
    metrics.begin()
    metrics.end("GET", "/", 200, 0.1)
    names = {
        family.name + ("_total" if family.type == "counter" else "") for family in metrics.registry.collect()
    }
    assert set(re.findall(r"^\| `(\w+)`", DOCUMENT, re.MULTILINE)) == names


async def test_requests_are_counted_by_path_and_status(running: Running) -> None:
    room = await running.room()
    for _ in range(3):
        await running.client.post(f"/v1/rooms/{room}/tokens", json={"user": "ada", "role": "viewer"})
    await running.client.get(f"/v1/rooms/{room}")
    await running.client.get("/v1/rooms/nowhere")
    await running.client.get("/nothing")
    await running.client.get("/v1/rooms", headers={"Authorization": "Bearer wrong"})
    answer = await running.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found = figures(answer.text)
    count = "roomledger_api_requests_total"
    assert found[count, "POST", "/v1/rooms/{room}/tokens", "200"] == 3
    assert found[count, "GET", "/v1/rooms/{room}", "200"] == 1
    assert found[count, "GET", "/v1/rooms/{room}", "404"] == 1
    assert found[count, "GET", "(none)", "404"] == 1
    assert found[count, "GET", "(none)", "401"] == 1
    assert found["roomledger_api_request_seconds_count", "POST", "/v1/rooms/{room}/tokens"] == 3
    assert found["roomledger_api_requests_under_way",] == 1, "the one that asks"


async def test_the_sequence_that_is_known_is_told(running: Running) -> None:
    await running.room()
    await running.client.get("/readyz")
    assert figures((await running.client.get("/metrics")).text)["roomledger_api_known_sequence",] == 1


async def test_a_method_that_is_none_makes_no_series_of_its_own(running: Running) -> None:
    for method in ("FOO", "BAR"):
        await running.client.request(method, "/v1/rooms")
    methods = {
        labels[1] for labels in figures((await running.client.get("/metrics")).text) if len(labels) == 4
    }
    assert methods <= {"GET", "OTHER"}


async def test_no_service_is_needed_to_read_them(running: Running) -> None:
    answer = await running.client.get("/metrics", headers={"Authorization": ""})
    assert answer.status_code == 200
