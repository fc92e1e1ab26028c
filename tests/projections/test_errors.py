from pathlib import Path

import pytest

from roomledger_projections.errors import (
    NotAProjection,
    ProjectionError,
    ProjectionLocked,
    ProjectionUnwritable,
)


@pytest.mark.parametrize("error", [NotAProjection, ProjectionLocked, ProjectionUnwritable])
def test_an_error_names_the_file_the_reason_and_what_to_do(error: type[ProjectionError]) -> None:
    text = str(error(Path("rooms.sqlite"), "because"))
    assert text.startswith("rooms.sqlite ")
    assert "(because): " in text
