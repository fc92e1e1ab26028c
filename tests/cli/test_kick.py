import json

from roomledger.sdk.errors import ApiRefused
from roomledger_events.rooms import ParticipantLeft
from tests.cli.test_participants import run, whole
from tests.processes.management_api.whole import Whole
from tests.support.served import Run

__all__ = ["run", "whole"]


async def test_who_is_kicked_is_out_and_is_told_why(run: Run, whole: Whole) -> None:
    room = await whole.room()
    await whole.join(room, "ada")
    result = await run("kick", room, "ada", "--reason", "enough & more?")
    assert result.exit_code == 0, result.output
    last = (await whole.cluster.commits())[-1].events[0].data
    assert isinstance(last, ParticipantLeft)
    assert (last.participant, last.reason, last.message) == ("ada", "dropped", "enough & more?")


async def test_a_kick_is_told_as_json(run: Run, whole: Whole) -> None:
    room = await whole.room()
    await whole.join(room, "ada")
    told = json.loads((await run("kick", room, "ada", "--json")).stdout)
    assert told == {"room": "r1", "participant": "ada", "reason": None}


async def test_who_is_not_in_cannot_be_kicked(run: Run, whole: Whole) -> None:
    result = await run("kick", await whole.room(), "nobody")
    assert isinstance(result.exception, ApiRefused)
    assert result.exception.code == "no_such_participant"
