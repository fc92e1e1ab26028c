import re

import pytest

from roomledger_events.__main__ import FOLDER
from roomledger_events.catalogue import CATALOGUE
from roomledger_events.envelope import MAX_EVENTS
from roomledger_events.subjects import EXPIRING, GUARDED, Kind

README = (FOLDER / "README.md").read_text()
SECTIONS = dict(re.findall(r"^### ledger\.(\w+)\n(.*?)(?=^##|\Z)", README, re.MULTILINE | re.DOTALL))
ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


@pytest.mark.parametrize("kind", Kind)
def test_every_type_has_one_row_under_its_subject_and_every_row_a_type(kind: Kind):
    rows = [row[0] for row in ROW.findall(SECTIONS[kind])]
    assert sorted(rows) == sorted(name for name, cls in CATALOGUE.items() if cls.kind is kind)


def test_every_section_is_a_kind_of_boundary():
    assert set(SECTIONS) == set(Kind)


def test_every_row_says_what_it_is_about_what_it_means_and_who_appends_it():
    rows = ROW.findall(README)
    assert len(rows) == len(CATALOGUE)
    assert all(cell.strip() for row in rows for cell in row)


@pytest.mark.parametrize("kind", Kind)
def test_every_subject_is_described_as_it_is(kind: Kind):
    found = re.search(rf"^\| `ledger\.{kind}\.<[^|]+\| [^|]+ \| (\w+) \| ([^|]+) \|$", README, re.MULTILINE)
    assert found is not None
    assert (found[1] == "yes") == (kind in GUARDED)
    assert (found[2] != "no") == (kind in EXPIRING)


def test_every_file_that_is_named_is_there():
    for name in re.findall(r"`(roomledger_events/[^`]+)`", README):
        stem, _, rest = name.partition("{")
        names = [f"{stem}{each}.py" for each in rest.partition("}")[0].split(",")] if rest else [name]
        assert all((FOLDER / each).is_file() for each in names)


def test_the_size_of_a_commit_is_the_one_that_holds():
    assert f"1 to {MAX_EVENTS} events" in README
