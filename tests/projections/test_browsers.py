"""What people see who open a projection with sqlite-utils or with Datasette."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest
from datasette.app import Datasette
from sqlite_utils import Database

from roomledger_projections import PROJECTIONS
from roomledger_projections.directory import live_path
from roomledger_projections.projection import Projection
from roomledger_projections.projection_file import ProjectionFile
from roomledger_projections.tables import HELD, POSITION
from tests.support.commits import (
    CREATED,
    PORTAL,
    ROOM,
    TOKENS,
    created,
    issued,
    joined,
    joined_worker,
    log_of,
    reserved,
)

TYPES: Final = {str: "TEXT", int: "INTEGER", float: ("FLOAT", "REAL"), bool: "INTEGER"}
A_DAY: Final = log_of(
    (PORTAL, joined_worker("w1")),
    (ROOM, created()),
    (PORTAL, reserved("code-t1")),
    (TOKENS, issued("t1")),
    (ROOM, joined("p1")),
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a folder with all projections of a short log."""
    for projection in PROJECTIONS:
        file = ProjectionFile(projection, live_path(tmp_path, projection))
        file.take_in(A_DAY, CREATED)
        file.close()
    return tmp_path


@pytest.fixture(params=PROJECTIONS, ids=lambda projection: projection.name)
def opened(request: pytest.FixtureRequest, directory: Path) -> Iterator[tuple[Projection, Database]]:
    """Open each projection with sqlite-utils."""
    with closing(sqlite3.connect(live_path(directory, request.param))) as connection:
        yield request.param, Database(connection)


def test_sqlite_utils_finds_the_tables_by_their_names(opened: tuple[Projection, Database]) -> None:
    projection, db = opened
    assert set(db.table_names()) == {"position", "held", *projection.tables}


def test_sqlite_utils_finds_columns_with_names_types_and_keys(opened: tuple[Projection, Database]) -> None:
    projection, db = opened
    for name, table in {**projection.tables, "position": POSITION, "held": HELD}.items():
        found = {column.name: column.type for column in db.table(name).columns}
        assert list(found) == list(table.columns)
        for column, kind in table.columns.items():
            assert found[column] in TYPES[kind]
        assert db.table(name).pks == list(table.key)


def test_sqlite_utils_finds_what_points_where(opened: tuple[Projection, Database]) -> None:
    projection, db = opened
    for name, table in projection.tables.items():
        declared = {
            (column, other, of)
            for columns, other, others in table.references
            for column, of in zip(columns, others, strict=True)
        }
        found = set()
        for *_, other, column, of, _, _, _ in db.execute(f'PRAGMA foreign_key_list("{name}")').fetchall():
            found.add((column, other, of))
        assert found == declared


def test_what_is_pointed_to_is_there(opened: tuple[Projection, Database]) -> None:
    _, db = opened
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []


def test_names_are_words_that_people_read(opened: tuple[Projection, Database]) -> None:
    _, db = opened
    for name in db.table_names():
        for word in (name, *db.table(name).columns_dict):
            assert word.replace("_", "").isalpha()
            assert word.islower()


async def datasette(directory: Path, path: str) -> Any:  # noqa: ANN401  - JSON
    """Return what Datasette answers about the projections."""
    served = Datasette([str(live_path(directory, projection)) for projection in PROJECTIONS])
    await served.invoke_startup()
    answer = await served.client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json() if path.endswith("json") or "?" in path else answer.text


async def test_datasette_shows_every_projection_as_a_database(directory: Path) -> None:
    shown = await datasette(directory, "/-/databases.json")
    assert {each["name"] for each in shown} >= {projection.name for projection in PROJECTIONS}


async def test_datasette_shows_tables_with_their_keys_and_counts(directory: Path) -> None:
    shown = {table["name"]: table for table in (await datasette(directory, "/rooms.json"))["tables"]}
    assert shown["participants"]["primary_keys"] == ["room", "id"]
    assert (shown["rooms"]["count"], shown["participants"]["count"]) == (1, 1)
    [key] = shown["participants"]["foreign_keys"]["outgoing"]
    assert (key["column"], key["other_table"], key["other_column"]) == ("room", "rooms", "id")


async def test_datasette_shows_rows_that_tell_their_story(directory: Path) -> None:
    [row] = (await datasette(directory, "/tokens/tokens.json?_shape=array"))[:1]
    assert (row["id"], row["user"], row["state"], row["used_by"]) == ("t1", "Ada", "used", "p1")
    [task] = await datasette(directory, "/cluster/tasks.json?_shape=array")
    assert (task["id"], task["worker"], task["state"]) == ("code-t1", "w1", "reserved")


async def test_datasette_draws_a_page_of_each_table(directory: Path) -> None:
    for projection in PROJECTIONS:
        for name in projection.tables:
            assert f"<title>{projection.name}: {name}" in await datasette(
                directory, f"/{projection.name}/{name}"
            )
