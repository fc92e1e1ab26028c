"""Whatever is asked of a room, in whatever order, some things hold."""

from collections import Counter
from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from roomledger.domain.errors import Code
from roomledger.domain.room import ROOM
from roomledger.domain.room_commands import (
    ChangeRoom,
    CreateRoom,
    DeleteRoom,
    Drop,
    Join,
    Leave,
    LoseConnection,
    LosePortal,
    ReleaseController,
    Return,
    RevokeToken,
    RoomCommand,
    SendText,
    SetPermission,
    TakeOverController,
)
from roomledger.domain.room_settings import DEFAULT_ROLES
from roomledger.domain.room_state import RoomState
from roomledger_events.rooms import (
    ParticipantJoined,
    ParticipantLeft,
    RoomDeleted,
    RoomSettings,
)
from roomledger_events.tokens import TokenRevoked
from tests.support.deciders import START, Scenario, scenario, snapshot
from tests.support.rooms import LIFETIME, PRESENTER, VIEWER, issued

PARTICIPANTS = st.sampled_from([f"p{number}" for number in range(6)])
PORTALS = st.sampled_from(["portal-1", "portal-2"])
NODES = st.sampled_from(["n1", "n2"])
SETTINGS = st.builds(
    RoomSettings,
    name=st.sampled_from(["one", "two"]),
    participant_limit=st.sampled_from([1, 2, 3, -1]),
    roles=st.sampled_from([DEFAULT_ROLES, DEFAULT_ROLES[:1]]),
)
RUNS = st.sampled_from(["", "run-1", "run-2"])
COMMANDS: st.SearchStrategy[RoomCommand] = st.one_of(
    st.builds(ChangeRoom, SETTINGS),
    st.builds(TakeOverController, st.just("w1"), NODES),
    st.builds(ReleaseController, NODES),
    st.builds(Leave, PARTICIPANTS, st.just("logout"), st.none() | PORTALS),
    st.builds(Drop, PARTICIPANTS),
    st.builds(SetPermission, PARTICIPANTS, st.sampled_from([PRESENTER, VIEWER])),
    st.builds(SendText, PARTICIPANTS, st.just("all") | PARTICIPANTS, st.just("hello")),
    st.builds(LoseConnection, PARTICIPANTS, PORTALS, st.integers(1, 120_000)),
    st.builds(Return, PARTICIPANTS, PORTALS, RUNS),
    st.builds(LosePortal, PORTALS, st.none() | RUNS, st.lists(PARTICIPANTS, max_size=3).map(tuple)),
)


class AnyRoom(RuleBasedStateMachine):
    """A room that anything is asked of; the harness adds that twice is no more than once."""

    def __init__(self) -> None:
        super().__init__()
        self.room: Scenario[RoomState, RoomCommand] = scenario(ROOM)
        self.now = START
        self.tokens = 0

    @initialize(settings=SETTINGS)
    def begin(self, settings: RoomSettings) -> None:
        self.create(settings)

    @rule(settings=SETTINGS)
    def create(self, settings: RoomSettings) -> None:
        self.room.when(CreateRoom("r1", "s1", settings), now=self.now)
        self.room.when(TakeOverController("w1", "n1"))

    @rule(sure=st.sampled_from([False, False, True]))
    def delete(self, *, sure: bool) -> None:
        if sure:
            self.room.when(DeleteRoom(), now=self.now)

    @rule(command=COMMANDS)
    def ask(self, command: RoomCommand) -> None:
        self.room.when(command, now=self.now)

    @rule(role=st.sampled_from(["presenter", "viewer"]), stale=st.booleans())
    def issue(self, role: str, *, stale: bool) -> None:
        self.tokens += 1
        generation = self.room.state.generation - stale
        token = issued(f"t{self.tokens}", role=role, generation=generation, expires_at=self.now + LIFETIME)
        self.room.given(token, at=self.now)

    @rule(participant=PARTICIPANTS)
    def join_with_a_new_token(self, participant: str) -> None:
        self.issue("presenter", stale=False)
        self.join(participant, 0)

    @rule(participant=PARTICIPANTS, back=st.integers(0, 3))
    def join(self, participant: str, back: int) -> None:
        before = self.room.state
        limit = before.settings.participant_limit if before.settings else 0
        free = limit <= 0 or len(before.participants) < limit
        here = participant in before.participants
        self.room.when(Join(participant, "portal-1", f"t{max(1, self.tokens - back)}"), now=self.now)
        refusal = self.room.decision.refusal
        if refusal is None:
            assert participant in self.room.state.participants
            assert free or here
        elif refusal.code is Code.ROOM_FULL:
            assert not free

    @rule(participant=PARTICIPANTS, back=st.integers(0, 1))
    def join_with_a_revoked_token(self, participant: str, back: int) -> None:
        self.room.when(RevokeToken(f"t{max(1, self.tokens - back)}"), now=self.now)
        self.join(participant, back)

    @rule(seconds=st.sampled_from([0.1, 1, 20, 100, 1000]))
    def wait(self, seconds: float) -> None:
        until = self.now + timedelta(seconds=seconds)
        while (deadline := self.room.deadline) is not None and deadline <= until:
            due = self.room.due(deadline)
            assert due
            for command in due:
                self.room.when(command, now=deadline)
        self.now = until

    @invariant()
    def no_more_are_in_than_the_roster_says(self) -> None:
        listed = [participant.id for participant in self.room.state.roster.listing().participants()]
        assert listed == list(self.room.state.participants)

    @invariant()
    def each_token_is_used_at_most_once_and_never_after_its_revocation(self) -> None:
        used: Counter[str] = Counter()
        revoked = set()
        for event in self.room.events:
            if isinstance(event.data, ParticipantJoined):
                used[event.data.token] += 1
                assert event.data.token not in revoked
            elif isinstance(event.data, TokenRevoked):
                revoked.add(event.data.token)
        assert not used or max(used.values()) == 1

    @invariant()
    def whoever_leaves_has_joined_before(self) -> None:
        inside: set[str] = set()
        for event in self.room.events:
            match event.data:
                case ParticipantJoined(participant=participant):
                    assert participant not in inside
                    inside.add(participant)
                case ParticipantLeft(participant=participant):
                    inside.remove(participant)
                case RoomDeleted():
                    inside.clear()
        assert inside == set(self.room.state.participants)

    def teardown(self) -> None:
        rebuilt = RoomState()
        for event in self.room.events:
            rebuilt = ROOM.evolve(rebuilt, event)
        assert snapshot(rebuilt) == snapshot(self.room.state)


TestAnyRoom = AnyRoom.TestCase
TestAnyRoom.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
