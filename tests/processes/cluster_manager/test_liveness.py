from datetime import UTC, datetime

from roomledger.processes.cluster_manager.liveness import Liveness


def test_a_worker_is_silent_when_its_lease_has_passed() -> None:
    liveness = Liveness(lease_ms=3000)
    liveness.hear("w1", 10.0, None)
    assert list(liveness.silent(12.9)) == []
    assert list(liveness.silent(13.0)) == [("w1", 3000)]


def test_only_those_are_silent_who_were_not_heard_of_since() -> None:
    liveness = Liveness(lease_ms=3000)
    for worker in ("w1", "w2", "w3"):
        liveness.hear(worker, 10.0, None)
    liveness.hear("w1", 12.0, None)
    assert [worker for worker, _ in liveness.silent(13.5)] == ["w2", "w3"]


def test_a_worker_that_is_gone_is_not_missed() -> None:
    liveness = Liveness(lease_ms=3000)
    liveness.hear("w1", 10.0, None)
    liveness.forget("w1")
    assert list(liveness.silent(99.0)) == []


def test_the_wall_clock_is_kept_for_showing_only() -> None:
    liveness = Liveness(lease_ms=3000)
    seen = datetime(2026, 1, 1, tzinfo=UTC)
    liveness.hear("w1", 10.0, seen)
    assert liveness.last_seen("w1") == seen
    assert liveness.last_seen("w2") is None
