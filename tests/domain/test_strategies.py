"""The six strategies, through the reservations that they lead to."""

import random
from collections import Counter
from datetime import timedelta

import pytest

from roomledger.domain.decider import Context
from roomledger.domain.membership import Drain, ReportLoad, Undrain
from roomledger.domain.placement import Schedule
from roomledger.domain.pools import InTurns
from roomledger.domain.scheduler import SCHEDULER, decide
from roomledger.domain.strategies import CLASSES, STRATEGIES, LastUsed, WeightRobin
from roomledger_events.tasks import Preference, WorkerReserved
from tests.support.deciders import START, Scenario
from tests.support.purposes import parts, purpose, ready

EIGHT = tuple(f"w{number}" for number in range(1, 9))


def pick(begun: Scenario, count: int = 1, *, draw: float = 0.0, **preference: str) -> list[str]:
    """Place new tasks, without what the scenario checks of each command beside."""
    workers = []
    for _ in range(count):
        command = Schedule(f"task-{len(begun.events)}", Preference(**preference))
        decision = decide(begun.state, command, Context(begun.now, len(begun.events), draw))
        begun.given(*decision.facts)
        workers.append(decision.answer.worker)
    return workers


def test_least_used_takes_the_smallest_load_and_of_equals_who_joined_first() -> None:
    begun = purpose(strategy="least-used", task_load=0.1)
    for worker, load in (("w1", 0.4), ("w2", 0.2), ("w3", 0.2)):
        ready(begun, worker, load=load)
    assert pick(begun, 5) == ["w2", "w3", "w2", "w3", "w1"]


def test_most_used_takes_the_largest_load_that_is_not_full() -> None:
    begun = purpose(strategy="most-used", task_load=0.1)
    for worker, load in (("w1", 0.4), ("w2", 0.7), ("w3", 0.7), ("w4", 0.95)):
        ready(begun, worker, load=load)
    assert pick(begun, 5) == ["w2", "w2", "w3", "w3", "w1"]


def test_last_used_stays_with_a_worker_while_it_is_a_candidate() -> None:
    begun = ready(purpose(strategy="last-used"), "w1", "w2", "w3")
    assert pick(begun, 2) == ["w1", "w1"]
    begun.when(Drain("w1"))
    assert pick(begun, 2) == ["w2", "w2"]
    begun.when(Undrain("w1"))
    assert pick(begun) == ["w2"]


def test_round_robin_goes_round_in_joining_order() -> None:
    begun = ready(purpose(strategy="round-robin"), "w3", "w1", "w2")
    assert pick(begun, 5) == ["w3", "w1", "w2", "w3", "w1"]


def test_round_robin_goes_on_after_a_worker_that_is_gone() -> None:
    begun = ready(purpose(strategy="round-robin"), "w1", "w2", "w3")
    assert pick(begun, 2) == ["w1", "w2"]
    begun.when(Drain("w2"))
    assert pick(begun, 2) == ["w3", "w1"]


@pytest.mark.parametrize("strategy", ["round-robin", "weight-robin"])
def test_two_regions_that_alternate_do_not_reset_each_other(strategy: str) -> None:
    begun = ready(purpose(strategy=strategy), *EIGHT)
    picks = [pick(begun, region=("north", "south")[number % 2])[0] for number in range(32)]
    assert Counter(picks) == dict.fromkeys(EIGHT, 4)


@pytest.mark.parametrize("strategy", ["last-used", "round-robin", "weight-robin"])
def test_each_region_keeps_to_its_own_workers(strategy: str) -> None:
    begun = ready(purpose(strategy=strategy), "n1", "n2", regions=("north",))
    ready(begun, "s1", "s2", regions=("south",))
    for _ in range(6):
        assert pick(begun, region="north")[0] in {"n1", "n2"}
        assert pick(begun, region="south")[0] in {"s1", "s2"}


def test_randomly_pick_follows_the_draw() -> None:
    begun = ready(purpose("recording", task_load=0.0), "w1", "w2", "w3", "w4")
    picks = [pick(begun, draw=draw)[0] for draw in (0.0, 0.24, 0.25, 0.5, 0.75, 0.999_999_999)]
    assert picks == ["w1", "w1", "w2", "w3", "w4", "w4"]


def test_randomly_pick_gives_everybody_the_same_chance_over_several_pools() -> None:
    begun = ready(purpose(strategy="randomly-pick", task_load=0.0), "w1", "w2", isps=("a",))
    ready(begun, "w3", "w4", "w5")
    picks = Counter(pick(begun, draw=number / 50, isp="a")[0] for number in range(50))
    assert picks == dict.fromkeys(("w1", "w2", "w3", "w4", "w5"), 10)


def test_weight_robin_serves_in_proportion_to_the_free_shares() -> None:
    begun = ready(purpose(strategy="weight-robin", task_load=0.0), "w1", load=0.5)
    ready(begun, "w2", "w3", load=0.75)
    assert Counter(pick(begun, 100)) == {"w1": 50, "w2": 25, "w3": 25}


def test_weight_robin_serves_in_proportion_over_several_pools() -> None:
    begun = ready(purpose(strategy="weight-robin", task_load=0.0), "own", load=0.5, isps=("a",))
    ready(begun, "w2", "w3", load=0.75)
    counts = Counter(pick(begun, 100, isp="a"))
    assert all(abs(counts[worker] - share) <= 1 for worker, share in (("own", 50), ("w2", 25), ("w3", 25)))


def test_weight_robin_gives_no_pool_what_it_missed_while_others_were_asked() -> None:
    strategy, own, everybodys = WeightRobin(), InTurns((None, "a", None)), InTurns((None, None, None))
    for pool, number in ((own, 1), (everybodys, 2)):
        pool.enter(number, 0)
    for _ in range(50):
        strategy.remember(("a",), 1, own, 0)
    assert strategy.choose([own, everybodys], ("a",), 0.0)[0] == 2
    picks = []
    for _ in range(20):
        number = strategy.choose([own, everybodys], ("a",), 0.0)[0]
        strategy.remember(("a",), number, {1: own, 2: everybodys}[number], 0)
        picks.append(number)
    assert Counter(picks) == {1: 10, 2: 10}


def test_weight_robin_counts_what_is_reserved() -> None:
    begun = ready(purpose(strategy="weight-robin", task_load=0.1), "w1", "w2", max_load=1.0)
    pick(begun, 4)
    begun.when(ReportLoad("w1", 0.9)).when(ReportLoad("w2", 0.0))
    assert Counter(pick(begun, 8))["w2"] >= 6


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_a_burst_is_spread_though_no_load_is_reported(strategy: str) -> None:
    begun = ready(purpose("conference", strategy=strategy), *(f"w{number}" for number in range(12)))
    shares = Counter(pick(begun, draw=number * 0.618_033_988_7 % 1)[0] for number in range(500))
    largest = max(shares.values())
    assert largest <= (180 if strategy in {"last-used", "most-used"} else 1.2 * 500 / 12)


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_the_next_picks_after_a_restart_are_what_they_would_have_been(strategy: str) -> None:
    begun = ready(purpose(strategy=strategy), *EIGHT[:4], regions=("north",))
    ready(begun, *EIGHT[4:], load=0.3)
    for number in range(13):
        pick(begun, draw=number / 13, region=("north", "south", "west")[number % 3])
    rebuilt = SCHEDULER(begun.state.settings).initial()
    for event in begun.events:
        rebuilt = SCHEDULER(begun.state.settings).evolve(rebuilt, event)
    assert parts(rebuilt) == parts(begun.state)
    again = Scenario(SCHEDULER(begun.state.settings))
    again.state, again.events = rebuilt, list(begun.events)
    for region in ("north", "south", "west", "north"):
        assert pick(begun, 3, draw=0.4, region=region) == pick(again, 3, draw=0.4, region=region)


def test_runners_up_are_those_that_come_next() -> None:
    begun = ready(purpose(strategy="round-robin"), *EIGHT)
    pick(begun, 6)
    begun.when(Schedule("t"))
    data = begun.decision.facts[0].data
    assert isinstance(data, WorkerReserved)
    assert [data.worker, *(each.worker for each in data.basis.runners_up)] == ["w7", "w8", "w1", "w2"]


def test_only_so_many_classes_of_preference_are_remembered() -> None:
    strategy = LastUsed()
    for number in range(CLASSES + 10):
        strategy.remember((None, f"region-{number}"), 1, None, 0)
    strategy.remember((None, "region-10"), 2, None, 0)
    strategy.remember((None, "new"), 1, None, 0)
    assert len(strategy.picked) == CLASSES
    assert (None, "region-10") in strategy.picked
    assert (None, "region-11") not in strategy.picked


# Bursts


@pytest.mark.parametrize("seed", range(20))
def test_a_burst_is_spread_though_the_workers_report_what_they_had_long_before(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  - no secret
    workers = [f"w{number}" for number in range(12)]
    begun = ready(purpose("video", strategy="least-used"), *workers, load=0.1)
    asks: list[tuple[float, str]] = [(chance.uniform(0, 2), "") for _ in range(500)]
    late = [(at, name) for name in workers for at in moments(chance.random(), chance.uniform(0.2, 1.2))]
    given: Counter[str] = Counter()
    for number, (at, reporter) in enumerate(sorted([*asks, *late])):
        context = Context(START + timedelta(seconds=at), number)
        command = ReportLoad(reporter, 0.1) if reporter else Schedule(f"t{number}")
        decision = decide(begun.state, command, context)
        begun.given(*decision.facts, at=context.now)
        if not reporter:
            given[decision.answer.worker] += 1
    assert max(given.values()) <= 1.2 * 500 / 12


def moments(first: float, pause: float) -> list[float]:
    """Return when a worker reports in two seconds."""
    return [first + pause * count for count in range(10) if first + pause * count < 2]
