import re
from pathlib import Path

from roomledger_projections import PROJECTIONS
from roomledger_projections.tables import HELD, POSITION

README = (Path(__file__).parents[2] / "projections" / "README.md").read_text()
SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", README, re.MULTILINE | re.DOTALL))
TABLES = {"position": POSITION, "held": HELD} | {
    name: table for projection in PROJECTIONS for name, table in projection.tables.items()
}


def test_every_table_has_a_section_and_every_section_a_table() -> None:
    assert set(SECTIONS) == set(TABLES)


def test_every_column_has_a_line_in_its_order_and_every_line_a_column() -> None:
    documented = {
        name: re.findall(r"^\| `(\w+)` \| .+ \|$", body, re.MULTILINE) for name, body in SECTIONS.items()
    }
    assert documented == {name: list(table.columns) for name, table in TABLES.items()}


def test_every_file_is_named() -> None:
    for projection in PROJECTIONS:
        assert f"## {projection.name}.sqlite" in README
