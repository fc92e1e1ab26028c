"""The settings of a purpose."""

import dataclasses
from dataclasses import MISSING, replace

import pytest

from roomledger.domain.errors import UnknownStrategy
from roomledger.domain.purpose import MAX_REPORT_DELAY_MS, MAX_RESERVE_MS, PurposeSettings, StrategyName


@pytest.mark.parametrize(
    ("purpose", "strategy"),
    [
        ("portal", "last-used"),
        ("conference", "last-used"),
        ("webrtc", "last-used"),
        ("eventbridge", "last-used"),
        ("mediabridge", "last-used"),
        ("something-else", "last-used"),
        ("video", "least-used"),
        ("analytics", "least-used"),
        ("audio", "most-used"),
        ("sip", "round-robin"),
        ("streaming", "round-robin"),
        ("recording", "randomly-pick"),
    ],
)
def test_each_purpose_has_its_strategy(purpose: str, strategy: str) -> None:
    assert PurposeSettings.default(purpose).strategy == strategy


@pytest.mark.parametrize(("purpose", "milliseconds"), [("video", 5_000), ("audio", 5_000), ("portal", 0)])
def test_reports_may_be_late_where_the_choice_goes_by_load(purpose: str, milliseconds: int) -> None:
    assert PurposeSettings.default(purpose).report_delay_ms == milliseconds


def test_settings_are_read_back_as_they_were_recorded() -> None:
    settings = PurposeSettings("video", "most-used", 0.02, 7_000, 4_000, 0.1, 9_000)
    assert all(vars_of(settings)[name] != default for name, default in DEFAULTS.items())
    assert PurposeSettings.of("video", settings.recorded()) == settings


DEFAULTS = {
    field.name: field.default for field in dataclasses.fields(PurposeSettings) if field.default is not MISSING
}


def vars_of(settings: PurposeSettings) -> dict[str, object]:
    return dataclasses.asdict(settings)


def test_a_strategy_that_does_not_exist_is_an_error_that_names_those_that_do() -> None:
    with pytest.raises(UnknownStrategy, match="there is no strategy 'best'; there are least-used, most-used"):
        replace(PurposeSettings.default("portal"), strategy="best")


@pytest.mark.parametrize("strategy", list(StrategyName))
def test_a_strategy_is_kept_as_plain_text(strategy: StrategyName) -> None:
    assert type(replace(PurposeSettings.default("portal"), strategy=strategy).strategy) is str


@pytest.mark.parametrize(
    "change",
    [
        {"task_load": -0.1},
        {"task_load": 1.1},
        {"task_load": float("nan")},
        {"load_threshold": float("inf")},
        {"reserve_ms": 0},
        {"reserve_ms": MAX_RESERVE_MS + 1},
        {"lease_ms": 0},
        {"report_delay_ms": -1},
        {"report_delay_ms": MAX_REPORT_DELAY_MS + 1},
        {"purpose": "a.b"},
    ],
)
def test_a_figure_out_of_its_range_is_an_error(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        replace(PurposeSettings.default("portal"), **change)  # type: ignore[arg-type]  # wrong on purpose
