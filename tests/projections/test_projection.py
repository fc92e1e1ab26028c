from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256

import pytest

from roomledger_events.catalogue import CATALOGUE
from roomledger_events.subjects import Kind
from roomledger_events.tasks import SchedulingRefused
from roomledger_events.workers import WorkerDrainDeadlineReached
from roomledger_projections import AUDIT, PROJECTIONS
from roomledger_projections.projection import Projection, moment, rows, where
from roomledger_projections.projection_file import ProjectionFile


def test_a_time_is_shown_in_utc_to_the_microsecond() -> None:
    berlin = timezone(timedelta(hours=2))
    assert moment(datetime(2026, 1, 1, 2, 0, 0, 5, tzinfo=berlin)) == "2026-01-01T00:00:00.000005Z"


def test_a_whole_second_is_shown_as_wide_as_any_other_time() -> None:
    assert moment(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000000Z"


def test_a_time_without_zone_is_taken_for_utc() -> None:
    assert moment(datetime(2026, 1, 1)) == "2026-01-01T00:00:00.000000Z"  # noqa: DTZ001  - what is tested


def test_no_time_is_shown_as_none() -> None:
    assert moment(None) is None


def test_a_condition_names_only_what_is_asked_for() -> None:
    assert where(row="a", number=None) == ("row = ?", ["a"])
    assert where(row=None) == ("TRUE", [])


@pytest.mark.parametrize("projection", PROJECTIONS, ids=lambda projection: projection.name)
def test_a_projection_folds_only_events_of_the_catalogue(projection: Projection) -> None:
    assert {cause.__name__ for cause in projection.changes} <= set(CATALOGUE)


def test_every_event_but_refusals_texts_and_reminders_is_folded_by_some_projection() -> None:
    knowing = [projection for projection in PROJECTIONS if projection is not AUDIT]
    folded = {cause.__name__ for projection in knowing for cause in projection.changes}
    left_out = {"JoinRefused", SchedulingRefused.__name__, "TextSent", WorkerDrainDeadlineReached.__name__}
    assert set(CATALOGUE) - folded == left_out


def test_every_event_but_load_reports_can_be_found_for_an_audit() -> None:
    assert set(CATALOGUE) - {cause.__name__ for cause in AUDIT.changes} == {"LoadReported"}


def test_a_projection_reads_the_kinds_of_boundaries_whose_events_it_folds() -> None:
    kinds = {projection.name: projection.kinds for projection in PROJECTIONS}
    assert kinds == {
        "cluster": {Kind.SCHEDULER, Kind.LOAD, Kind.NODES},
        "rooms": {Kind.ROOM},
        "tokens": {Kind.TOKEN, Kind.ROOM},
        "audit": set(Kind) - {Kind.LOAD},
    }


@pytest.mark.parametrize(
    ("name", "version", "digest"),
    [
        ("cluster", 1, "307a0fa5ab1f"),
        ("rooms", 1, "edeb71c64c51"),
        ("tokens", 2, "207b350c10d5"),
        ("audit", 1, "532f445bab31"),
    ],
)
def test_tables_and_statements_change_only_with_the_version(name: str, version: int, digest: str) -> None:
    """Who changes them raises the version, and writes both down here: else old files would not be rebuilt."""
    projection = next(each for each in PROJECTIONS if each.name == name)
    fold = [(change.cause.__name__, change.statement.sql) for change in projection.fold]
    made = ProjectionFile(projection).ask(
        rows, "SELECT type, name, sql FROM sqlite_master ORDER BY type, name"
    )
    found = sha256(repr((made, fold)).encode()).hexdigest()[:12]
    assert (projection.version, found) == (version, digest)
