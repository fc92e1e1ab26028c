from pathlib import Path

import pydantic
import pytest

from roomledger.processes.management_api.errors import Problem
from roomledger.processes.management_api.rates import Rates
from roomledger.settings import Settings
from tests.processes.management_api.running import Running, problem
from tests.support.nats import NatsServer


async def test_one_too_many_is_refused_and_told_when_to_come_back() -> None:
    rates = Rates("2/hour")
    await rates.count("s1")
    await rates.count("s1")
    with pytest.raises(Problem) as refused:
        await rates.count("s1")
    assert (refused.value.status, refused.value.code) == (429, "rate_limited")
    assert 3500 < int(refused.value.headers["Retry-After"]) <= 3601


async def test_each_service_is_counted_by_itself() -> None:
    rates = Rates("1/hour")
    await rates.count("s1")
    await rates.count("s2")
    with pytest.raises(Problem):
        await rates.count("s2")


async def test_a_new_window_begins_with_none() -> None:
    rates = Rates("1000/second")
    refused = 0
    for _ in range(1001):
        try:
            await rates.count("s1")
        except Problem:
            refused += 1
    assert refused <= 1


@pytest.mark.parametrize("rate", ["", "many", "0/second", "10/0seconds", "-1/second", "10/fortnight"])
def test_a_rate_that_is_none_is_no_setting(rate: str) -> None:
    with pytest.raises(pydantic.ValidationError):
        Settings(rate_limit=rate)


async def test_a_service_with_too_many_requests_holds_no_other_up(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with Running.on(nats_server, tmp_path / "api", rate_limit="3/hour") as running:
        other = await running.other_service()
        for _ in range(3):
            assert (await running.client.get("/v1/rooms")).status_code == 200
        answer = await running.client.get("/v1/rooms")
        problem(answer, 429, "rate_limited")
        assert int(answer.headers["Retry-After"]) > 0
        assert (await other.get("/v1/rooms")).status_code == 200
        assert (await running.client.get("/healthz")).status_code == 200
