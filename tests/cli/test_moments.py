from datetime import UTC, datetime, timedelta

import pytest
import typer

from roomledger.cli.moments import order_of

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(("first", "second"), [(5, 4), (NOON, NOON - timedelta(seconds=1))])
def test_moments_in_the_wrong_order_are_refused(first: int | datetime, second: int | datetime) -> None:
    with pytest.raises(typer.BadParameter, match="the second moment is before the first"):
        order_of(first, second, "--diff")


@pytest.mark.parametrize(
    ("first", "second"), [(4, 4), (4, 5), (None, 5), (5, None), (5, NOON), (NOON, 5), (NOON, NOON)]
)
def test_other_moments_are_taken(first: int | datetime | None, second: int | datetime | None) -> None:
    order_of(first, second, "--diff")
