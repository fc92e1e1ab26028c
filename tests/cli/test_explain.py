import asyncio
import json
from pathlib import Path

import msgspec
import pytest
from click.testing import Result
from typer.testing import CliRunner

from roomledger.cli.explain import explain
from roomledger.domain.membership import Drain
from roomledger.domain.placement import LayDownTask, Schedule
from roomledger.domain.purpose import PurposeSettings
from roomledger.runtime.errors import NoSuchMoment
from roomledger_events.envelope import Commit, Payload
from roomledger_events.tasks import WorkerReserved
from tests.support.commits import ROOM, TOKENS, created, issued, joined, log_of
from tests.support.decided import PurposeLog, tampered, without_reports
from tests.support.exported import exported
from tests.support.serving import run, serving


def other_winner(data: Payload) -> Payload | None:
    return msgspec.structs.replace(data, worker="w2") if isinstance(data, WorkerReserved) else None


@pytest.fixture
def log() -> PurposeLog:
    """Return a log in which t1 is placed on w1, given up, refused and placed again."""
    log = PurposeLog(PurposeSettings("sip", "least-used")).workers("w1").workers("w2", load=0.3)
    log.do(Schedule("t1")).do(LayDownTask("w1", "t1"))
    return log.do(Drain("w1")).do(Drain("w2")).do(Schedule("t1"))


async def explained(path: Path, commits: list[Commit], *arguments: str) -> Result:
    exported(path / "log", commits)
    arguments = (*arguments, "--log", str(path / "log"))
    return await asyncio.to_thread(CliRunner().invoke, explain, arguments, env={"COLUMNS": "140"})


async def test_a_decision_is_explained_to_people_and_to_programs(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serving(data):
        code, text, errors = await run(data, "token", "--user", "ada")
        assert code == 0, errors
        _, out, _ = await run(data, "log", "tail", "--type", "WorkerReserved", "--json", "--no-follow")
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
        code, _, errors = await run(data, "join", "-", "--for", "1", stdin=text)
        assert code == 0, errors
        code, out, errors = await run(data, "explain", "token", told["correlationid"], "--json")
        assert code == 0, errors
        token = json.loads(out)
        assert [each["worker"] for each in token["portal"]] == [explanation["worker"]]
        assert token["conference"]["task"] == token["issued"]["room"]
        assert [each["what"] for each in token["outcomes"]] == ["joined"]
        code, out, errors = await run(data, "explain", "token", told["correlationid"])
        assert code == 0, errors
        assert f"{token['outcomes'][0]['participant']} joined" in out.replace("\n", "")


async def test_an_unknown_task_or_token_is_told_in_a_sentence(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serving(data):
        for what in (("task", "portal"), ("token",)):
            code, _, errors = await run(data, "explain", *what, "nothing")
            assert (code, errors.count("\n")) == (1, 1)
            assert "nothing" in errors


async def test_the_last_decision_on_a_task_is_explained_or_all_or_the_last_one_before(
    log: PurposeLog, tmp_path: Path
) -> None:
    of_task = ("task", "sip", "t1", "--json")
    last = json.loads((await explained(tmp_path, log.commits, *of_task)).output)
    both = json.loads((await explained(tmp_path, log.commits, *of_task, "--all")).output)
    before = last["sequence"] - 1
    first = json.loads((await explained(tmp_path, log.commits, *of_task, "--at", str(before))).output)
    assert both == [first, last]
    assert (first["worker"], first["reason"], first["agrees"]) == ("w1", None, True)
    assert (last["worker"], last["reason"], last["agrees"]) == (None, "all_in_full_load", True)
    assert [each["refused_by"] for each in last["candidates"]] == ["draining", "draining"]
    assert [each["rank"] for each in first["candidates"]] == [1, 2]


async def test_a_record_that_is_not_what_the_rules_lead_to_is_said_loudly(
    log: PurposeLog, tmp_path: Path
) -> None:
    changed = tampered(log.commits, other_winner)
    result = await explained(tmp_path, changed, "task", "sip", "t1", "--all")
    assert result.exit_code == 1
    assert "THE RECORD IS NOT WHAT THE RULES LEAD TO" in result.output
    assert "the log says w2, the rules choose w1" in result.output
    told = json.loads((await explained(tmp_path, changed, "task", "sip", "t1", "--all", "--json")).output)
    assert [each["agrees"] for each in told] == [False, True]


async def test_what_is_known_of_a_decision_whose_load_reports_have_expired_is_said(
    log: PurposeLog, tmp_path: Path
) -> None:
    result = await explained(tmp_path, without_reports(log.commits), "task", "sip", "t1", "--all")
    assert result.exit_code == 0
    assert "The load reports of 2 workers have expired" in result.output
    assert "(0.300) of 0.9" in result.output


async def test_what_cannot_be_of_a_task_is_said_loudly(tmp_path: Path) -> None:
    def twice(data: Payload) -> Payload | None:
        again = isinstance(data, WorkerReserved) and data.task == "t2"
        return msgspec.structs.replace(data, task="t1", worker="w2") if again else None

    log = PurposeLog(PurposeSettings("sip", "least-used")).workers("w1", "w2")
    planted = tampered(log.do(Schedule("t1")).do(Schedule("t2")).commits, twice)
    result = await explained(tmp_path, planted, "task", "sip", "t1")
    assert result.exit_code == 1
    assert "THE LOG SAYS WHAT CANNOT BE" in result.output
    assert "7.0 t1: it is given to w2 while w1 has it: two workers at once" in result.output


async def test_what_cannot_be_of_a_token_is_said_loudly(tmp_path: Path) -> None:
    commits = log_of((ROOM, created()), (TOKENS, issued("t1")), (ROOM, joined("p1")), (ROOM, joined("p2")))
    result = await explained(tmp_path, commits, "token", "t1")
    assert result.exit_code == 1
    assert "4.0 t1: p2 joined with the token that p1 had used up" in result.output
    told = json.loads((await explained(tmp_path, commits, "token", "t1", "--json")).output)
    assert "t1" in {each["about"] for each in told["findings"]}


async def test_a_sequence_after_the_end_of_the_log_is_refused(log: PurposeLog, tmp_path: Path) -> None:
    result = await explained(tmp_path, log.commits, "task", "sip", "t1", "--at", "99")
    assert isinstance(result.exception, NoSuchMoment)
    assert str(result.exception).endswith("the log ends at sequence 10, before 99")
