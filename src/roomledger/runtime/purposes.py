"""What is set for a purpose: its own settings, those of ``default``, and what it has without any."""

from typing import Any

from roomledger.domain.purpose import DEFAULT_REPORT_DELAY_MS, PurposeSettings
from roomledger.settings import Settings

DEFAULT = "default"


def settings_of(settings: Settings, purpose: str) -> PurposeSettings:
    """Return the settings of a purpose.

    Raises:
        UnknownStrategy: They name a strategy that does not exist.
    """
    default = PurposeSettings.default(purpose)
    given: dict[str, Any] = {}
    for name in (DEFAULT, purpose):
        found = settings.scheduler.get(name)
        if found is not None:
            given |= found.model_dump(exclude_none=True)
    strategy = given.get("strategy", default.strategy)
    return PurposeSettings(
        purpose=purpose,
        strategy=strategy,
        task_load=given.get("task_load", default.task_load),
        reserve_ms=given.get("reserve_ms", default.reserve_ms),
        lease_ms=given.get("lease_ms", default.lease_ms),
        load_threshold=given.get("load_change", default.load_threshold),
        report_delay_ms=given.get("report_delay_ms", DEFAULT_REPORT_DELAY_MS.get(strategy, 0)),
    )
