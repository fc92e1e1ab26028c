from hypothesis import given, settings
from hypothesis import strategies as st

from roomledger.processes.conference.pool import NodeView, Phase, Pool


def pool(*, prerun: int = 1, limit: int = 3, reuse: bool = True, recycle: bool = True) -> Pool:
    return Pool(prerun=prerun, limit=limit, reuse=reuse, recycle=recycle)


def warm(nodes: Pool, *names: str) -> Pool:
    for name in names:
        nodes.start(name, 0)
        nodes.hear(name, 0)
    return nodes


def test_as_many_nodes_are_started_as_are_to_be_there_before_they_are_needed():
    nodes = pool(prerun=2, limit=3)
    assert nodes.missing(0) == 2
    warm(nodes, "a")
    nodes.start("b", 0)
    assert nodes.missing(0) == 0


def test_a_room_takes_a_node_out_of_those_that_wait():
    nodes = warm(pool(prerun=1), "a")
    assert nodes.give("r1") == "a"
    assert nodes.missing(0) == 1


def test_there_are_never_more_nodes_than_the_limit():
    nodes = warm(pool(prerun=5, limit=2), "a", "b")
    nodes.give("r1")
    nodes.give("r2")
    assert nodes.missing(7) == 0


def test_rooms_that_wait_have_nodes_started():
    assert pool(prerun=0, limit=3).missing(2) == 2


def test_a_room_is_given_to_the_node_that_runs_it():
    nodes = warm(pool(), "a", "b")
    assert nodes.give("r1") == "a"
    assert nodes.give("r1") == "a"


def test_a_room_is_given_to_the_node_that_has_been_ready_for_longest():
    nodes = pool()
    nodes.start("slow", 0)
    nodes.start("fast", 0)
    nodes.hear("fast", 1)
    nodes.hear("slow", 2)
    assert [nodes.give("r1"), nodes.give("r2")] == ["fast", "slow"]


def test_a_room_waits_for_a_node_that_is_on_its_way():
    nodes = warm(pool(limit=2), "a")
    nodes.give("r1")
    nodes.start("b", 0)
    assert nodes.give("r2") is None
    nodes.hear("b", 1)
    assert nodes.give("r2") == "b"


def test_rooms_share_the_node_with_the_fewest_when_there_can_be_no_more_nodes():
    nodes = warm(pool(limit=2), "a", "b")
    assert [nodes.give(room) for room in ("r1", "r2", "r3", "r4", "r5")] == ["a", "b", "a", "b", "a"]
    nodes.take("r1")
    nodes.take("r3")
    assert nodes.give("r6") == "a"


def test_rooms_do_not_share_where_that_is_not_allowed():
    nodes = warm(pool(limit=1, reuse=False), "a")
    nodes.give("r1")
    assert nodes.give("r2") is None
    assert nodes.give("r2", share=True) is None


def test_a_room_that_can_wait_no_longer_shares_a_node():
    nodes = warm(pool(limit=2), "a")
    nodes.give("r1")
    assert nodes.give("r2") is None, "there could be one more"
    assert nodes.give("r2", share=True) == "a"


def test_a_node_whose_last_room_has_gone_has_done_its_work():
    nodes = warm(pool(limit=1), "a")
    nodes.give("r1")
    nodes.give("r2")
    assert nodes.take("r1") is None
    assert nodes.take("r2") == "a"
    assert nodes.view("a") == NodeView("a", Phase.RECYCLING, ())
    assert nodes.give("r3") is None


def test_a_node_that_is_never_recycled_turns_warm_again():
    nodes = warm(pool(recycle=False), "a")
    nodes.give("r1")
    assert nodes.take("r1") is None
    assert nodes.view("a") == NodeView("a", Phase.WARM, ())


def test_a_node_that_is_retired_keeps_its_rooms_and_gets_no_more():
    nodes = warm(pool(limit=1), "a")
    nodes.give("r1")
    nodes.retire("a")
    assert nodes.node_of("r1") == "a"
    assert nodes.give("r2", share=True) is None
    assert nodes.take("r1") is None, "whoever retired it ends it"


def test_the_rooms_of_a_node_that_is_gone_have_none():
    nodes = warm(pool(), "a")
    nodes.give("r1")
    nodes.give("r2", share=True)
    assert nodes.gone("a") == ("r1", "r2")
    assert nodes.node_of("r1") is None
    assert nodes.rooms == 0
    assert nodes.gone("a") == ()


def test_a_node_is_ready_once():
    nodes = pool()
    nodes.start("a", 0)
    assert nodes.hear("a", 1)
    assert not nodes.hear("a", 2)
    assert not nodes.hear("stranger", 2)


def test_a_ready_node_that_is_silent_is_given_up_sooner_than_one_that_starts():
    nodes = warm(pool(), "ready")
    nodes.start("starting", 0)
    assert nodes.silent(2.9, starting_s=30, silence_s=3) == []
    assert nodes.silent(3, starting_s=30, silence_s=3) == ["ready"]
    assert nodes.silent(30, starting_s=30, silence_s=3) == ["ready", "starting"]


def test_time_in_which_nobody_could_be_heard_does_not_count():
    nodes = warm(pool(), "a")
    nodes.hear_all(10)
    assert nodes.silent(12, starting_s=30, silence_s=3) == []


def test_the_share_of_the_nodes_that_run_rooms_is_known():
    nodes = warm(pool(limit=4), "a", "b")
    nodes.give("r1")
    assert nodes.taken == 0.25


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["fill", "hear", "give", "share", "take", "gone", "retire"]), st.integers(0, 5)
    ),
    max_size=60,
)


@settings(max_examples=200)
@given(actions=ACTIONS, prerun=st.integers(0, 3), limit=st.integers(1, 4), reuse=st.booleans())
def test_whatever_happens_a_room_has_at_most_one_node_and_nodes_are_within_the_limit(
    actions: list[tuple[str, int]],
    prerun: int,
    limit: int,
    reuse: bool,  # noqa: FBT001  - hypothesis gives it
) -> None:
    nodes = pool(prerun=prerun, limit=limit, reuse=reuse)
    started = 0
    for action, number in actions:
        there = [view.node for view in nodes.views()]
        some = there[number % len(there)] if there else "nobody"
        match action:
            case "fill":
                for _ in range(nodes.missing(number)):
                    nodes.start(f"n{started}", 0)
                    started += 1
            case "hear":
                nodes.hear(some, 0)
            case "give" | "share":
                nodes.give(f"r{number}", share=action == "share")
            case "take":
                nodes.take(f"r{number}")
            case "gone":
                nodes.gone(some)
            case "retire":
                nodes.retire(some)
        views = list(nodes.views())
        run = [room for view in views for room in view.rooms]
        assert len(views) <= limit
        assert len(run) == len(set(run)) == nodes.rooms
        assert all(nodes.node_of(room) == view.node for view in views for room in view.rooms)
        assert all(not view.rooms for view in views if view.phase in {Phase.STARTING, Phase.WARM})
        assert reuse or all(len(view.rooms) <= 1 for view in views)
