"""The command ``join``, as people and programs use it: a process of its own against a real portal."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

import pytest

from tests.support.house import House
from tests.support.nats import until
from tests.support.small_portals import small_portals


async def start(path: Path, *arguments: str) -> Process:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ROOMLEDGER_")}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "roomledger",
        "join",
        *arguments,
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        cwd=path,
        env=environment | {"PYTHONUNBUFFERED": "1"},
    )


async def line(process: Process) -> Any:  # noqa: ANN401  - JSON values
    assert process.stdout is not None
    return json.loads(await asyncio.wait_for(process.stdout.readline(), 10))


async def end(process: Process, data: bytes | None = None) -> tuple[int | None, str, str]:
    """Wait for the end, and return the exit code and what was printed."""
    out, err = await asyncio.wait_for(process.communicate(data), 15)
    return process.returncode, out.decode(), err.decode()


async def test_with_json_it_prints_the_logins_result_and_then_each_notification(
    house: House, tmp_path: Path
) -> None:
    process = await start(tmp_path, house.token("t1"), "--json")
    login = await line(process)
    assert (login["user"], login["room"]["id"]) == ("user-t1", "r1")
    assert "ticket" not in login
    await house.neighbours.enter("p9")
    told = await line(process)
    assert told["method"] == "participant"
    assert told["params"]["participant"]["id"] == "p9"
    process.send_signal(signal.SIGTERM)
    assert await end(process) == (0, "", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_logs_out(house: House, tmp_path: Path, number: signal.Signals) -> None:
    process = await start(tmp_path, house.token(), "--json")
    await line(process)
    process.send_signal(number)
    assert (await end(process))[0] == 0
    await until(lambda: not house.neighbours.present())
    (leave,) = house.neighbours.requests("controller.leave")
    assert leave.reason == "logout"


async def test_it_logs_out_after_the_time_that_it_was_given(house: House, tmp_path: Path) -> None:
    code, out, err = await end(await start(tmp_path, house.token("t1"), "--for", "0.1"))
    assert (code, err) == (0, "")
    assert "user-t1 (viewer) is in Room" in out
    assert "alone so far" in out
    assert "logged out" in out
    await until(lambda: not house.neighbours.present())


async def test_people_are_told_in_sentences_who_comes_and_goes(house: House, tmp_path: Path) -> None:
    await house.neighbours.enter("p1")
    process = await start(tmp_path, house.token())
    await until(lambda: len(house.neighbours.present()) == 2, 10)
    await house.neighbours.enter("[p9]")
    await house.neighbours.drop("[p9]")
    assert process.stdout is not None
    printed = ""
    while "left" not in printed:
        printed += (await asyncio.wait_for(process.stdout.readline(), 10)).decode()
    assert "with user-p1" in printed
    assert "+ user-[p9] (viewer) came" in printed
    assert "- user-[p9] (viewer) left (dropped)" in printed
    process.terminate()
    assert (await end(process))[0] == 0


async def test_a_dash_reads_the_token_from_standard_input(house: House, tmp_path: Path) -> None:
    process = await start(tmp_path, "-", "--json", "--for", "0")
    code, out, _ = await end(process, f"{house.token('t1')}\n".encode())
    assert (code, json.loads(out)["user"]) == (0, "user-t1")


async def test_a_token_that_is_none_is_said_in_a_sentence(tmp_path: Path) -> None:
    code, out, err = await end(await start(tmp_path, "nonsense!"))
    assert (code, out) == (1, "")
    assert err == "roomledger: the token is not base64\n"


async def test_a_login_that_is_refused_is_said_with_its_code(house: House, tmp_path: Path) -> None:
    house.neighbours.limit = 0
    code, _, err = await end(await start(tmp_path, house.token()))
    assert code == 1
    assert err == "roomledger: the portal refused the login: the room is full (room_full)\n"


async def test_a_portal_that_is_not_there_is_said_in_a_sentence(house: House, tmp_path: Path) -> None:
    code, _, err = await end(await start(tmp_path, house.token(), "--url", "ws://127.0.0.1:1/"))
    assert code == 1
    assert err.startswith("roomledger: no portal answers at ws://127.0.0.1:1/")
    assert err.count("\n") == 1


async def test_a_drop_is_printed_and_ends_it_with_an_error(house: House, tmp_path: Path) -> None:
    process = await start(tmp_path, house.token(), "--json")
    login = await line(process)
    await house.neighbours.drop(login["id"], "be gone")
    assert await line(process) == {"method": "drop", "params": {"reason": "be gone"}}
    code, _, err = await end(process)
    assert (code, err) == (1, "roomledger: the portal ended the connection: be gone (4001)\n")


# -- Texts, and connections that are lost


async def say(process: Process, text: str) -> None:
    assert process.stdin is not None
    process.stdin.write(text.encode())
    await process.stdin.drain()


async def test_lines_that_are_typed_are_sent_to_all(tmp_path: Path) -> None:
    async with small_portals(1) as (portal,):
        process = await start(tmp_path, portal.token(), "--json")
        await line(process)
        await say(process, "hello\n\nhow are")
        await until(lambda: portal.room.texts == ["hello"])
        await say(process, " you?\n")
        await until(lambda: portal.room.texts == ["hello", "how are you?"])
        process.terminate()
        assert await end(process) == (0, "", "")


async def test_lines_after_the_token_are_sent_too(tmp_path: Path) -> None:
    async with small_portals(1) as (portal,):
        process = await start(tmp_path, "-", "--json")
        await say(process, f"{portal.token()}\nhello\n")
        await line(process)
        await until(lambda: portal.room.texts == ["hello"])
        process.terminate()
        assert (await end(process))[0] == 0


async def test_a_lost_connection_and_the_way_back_are_told(tmp_path: Path) -> None:
    async with small_portals(2) as (first, second):
        process = await start(tmp_path, first.token(), "--json", "--other", second.url)
        await line(process)
        await first.kill()
        second.room.happen("hello")
        assert (await line(process))["connection"] == "lost"
        back = await line(process)
        assert (back["connection"], back["url"], back["missed"]) == ("back", second.url, 1)
        assert (await line(process))["params"]["message"] == "hello"
        process.terminate()
        assert (await end(process))[0] == 0


async def test_people_are_told_of_it_in_sentences(tmp_path: Path) -> None:
    async with small_portals(1) as (portal,):
        process = await start(tmp_path, portal.token())
        await until(lambda: bool(portal.room.logins), 10)
        await portal.close(1012, "the portal stops")
        await until(lambda: bool(portal.room.relogins), 10)
        await portal.say("hello")
        process.terminate()
        _, out, _ = await end(process)
    assert "lost the connection (the portal stops); coming back" in out
    assert "back after" in out
    assert "p2: hello" in out
