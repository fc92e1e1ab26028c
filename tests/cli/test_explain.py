import json
from pathlib import Path

from tests.support.serving import run, serving


async def test_a_decision_is_explained_to_people_and_to_programs(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serving(data):
        code, _, errors = await run(data, "token", "--user", "ada")
        assert code == 0, errors
        _, out, _ = await run(data, "log", "tail", "--type", "WorkerReserved", "--json")
        event = json.loads(out.splitlines()[0])
        told = event.get("event", event)
        task = told["data"]["task"]
        code, out, errors = await run(data, "explain", "task", "portal", task, "--json")
        assert code == 0, errors
        explanation = json.loads(out)
        assert explanation["worker"] == told["data"]["worker"]
        assert explanation["agrees"]
        code, out, errors = await run(data, "explain", "task", "portal", task)
        assert code == 0, errors
        assert told["data"]["worker"] in out
        assert "last-used" in out


async def test_an_unknown_task_is_told_in_a_sentence(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serving(data):
        code, _, errors = await run(data, "explain", "task", "portal", "nothing")
    assert (code, errors.count("\n")) == (1, 1)
    assert "nothing" in errors
