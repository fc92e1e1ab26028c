import json

from tests.cli.test_room import run, running
from tests.support.served import Run

__all__ = ["run", "running"]


async def test_rooms_are_listed_oldest_first(run: Run) -> None:
    for room in ("one", "two"):
        await run("room", "create", f"Room {room}", "--id", room)
    shown = (await run("rooms")).stdout
    assert "2 rooms" in shown
    assert shown.index("Room one") < shown.index("Room two")


async def test_rooms_are_told_as_json(run: Run) -> None:
    assert json.loads((await run("rooms", "--json")).stdout) == []
    await run("room", "create", "Lecture", "--id", "lecture")
    assert [room["id"] for room in json.loads((await run("rooms", "--json")).stdout)] == ["lecture"]


async def test_what_a_room_is_called_is_no_markup(run: Run) -> None:
    await run("room", "create", "[red]x[/red]")
    assert "[red]x[/red]" in (await run("rooms")).stdout
