"""Given what happened, when a command comes, then this follows: one harness for every `Decider`.

    scenario(ROOM).given(Fact("r1", RoomCreated(...))).when(DeleteRoom()).then(RoomDeleted(room="r1"))

Beside what a test asks for, each `when` checks what holds for every command: the decision leaves the state
alone, and the same command at the same moment a second time changes nothing more.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any, Final, Generic, Self, TypeVar

import msgspec

from roomledger.domain.decider import Context, Decider, Decision, Fact
from roomledger.domain.errors import Code, Refusal
from roomledger_events.envelope import Event, Payload

State = TypeVar("State")
Command = TypeVar("Command")

START: Final = datetime(2025, 1, 1, tzinfo=UTC)
"""The time of a scenario until it says another one."""


class Scenario(Generic[State, Command]):
    """One boundary in the making.

    Attributes:
        state: What the facts so far have led to.
        events: The facts so far, as events.
        decision: What the last command led to, its refusal included.
        now: The time of the last fact or command.
    """

    def __init__(self, decider: Decider[State, Command], now: datetime = START) -> None:
        self._decider = decider
        self.state = decider.initial()
        self.events: list[Event] = []
        self.decision = Decision()
        self.now = now

    def given(self, *facts: Fact | Payload, at: datetime | None = None) -> Self:
        """Take in what has happened; a bare payload is a fact about nothing in particular."""
        self.now = at or self.now
        self._fold([_fact(each) for each in facts], Context(self.now))
        return self

    def when(
        self,
        command: Command,
        *,
        now: datetime | None = None,
        draw: float = 0.0,
        correlation: str = "command-1",
        actor: str = "somebody",
    ) -> Self:
        """Decide, take the facts in, and check that the same command again changes nothing more."""
        self.now = now or self.now
        context = Context(self.now, len(self.events), draw, correlation, actor)
        self.decision = self._decide(command, context)
        self._fold(self.decision.facts, context)

        after, count = snapshot(self.state), len(self.events)
        again = self._decide(command, context)
        self._fold(again.facts, context)
        del self.events[count:]
        assert snapshot(self.state) == after, f"{command} a second time changes the state by {again.facts}"
        return self

    def then(self, *facts: Fact | Payload) -> Self:
        """Expect these facts in this order, and no refusal; of a bare payload only the data count."""
        assert self.decision.refusal is None, self.decision.refusal
        self._expect(facts)
        return self

    def then_nothing(self) -> Self:
        """Expect that the command is fine and that nothing follows from it."""
        return self.then()

    def then_answer(self, answer: object) -> Self:
        """Expect this answer."""
        assert self.decision.refusal is None, self.decision.refusal
        assert self.decision.answer == answer
        return self

    def then_refused(self, code: Code, *facts: Fact | Payload) -> Self:
        """Expect a refusal with this code, recorded by these facts."""
        refusal = self.decision.refusal
        assert refusal is not None, f"accepted, with {self.decision.facts}"
        assert refusal.code is code, f"{refusal.code}: {refusal}"
        self._expect(facts)
        return self

    @property
    def deadline(self) -> datetime | None:
        """When the state has something to do by itself."""
        return self._decider.deadline(self.state)

    def due(self, now: datetime) -> list[Command]:
        """Return the commands that are due at a moment, and check that asking leaves the state alone."""
        before = snapshot(self.state)
        commands = list(self._decider.due(self.state, now))
        assert snapshot(self.state) == before, "asking what is due changed the state"
        return commands

    def _decide(self, command: Command, context: Context) -> Decision:
        before = snapshot(self.state)
        try:
            decision = self._decider.decide(self.state, command, context)
        except Refusal as refusal:
            decision = Decision(refusal=refusal)
        assert snapshot(self.state) == before, f"deciding {command} changed the state"
        return decision

    def _fold(self, facts: Sequence[Fact], context: Context) -> None:
        for fact in facts:
            event = event_of(fact, len(self.events) + 1, context)
            self.events.append(event)
            self.state = self._decider.evolve(self.state, event)

    def _expect(self, facts: Sequence[Fact | Payload]) -> None:
        found = list(self.decision.facts)
        shown = [
            fact if isinstance(wanted, Fact) else fact.data
            for fact, wanted in zip_longest(found, facts)
            if fact is not None
        ]
        assert shown == list(facts)


def scenario(decider: Decider[State, Command], *, now: datetime = START) -> Scenario[State, Command]:
    """Begin with a boundary in which nothing has happened."""
    return Scenario(decider, now)


def event_of(fact: Fact, number: int, context: Context) -> Event:
    """Put a fact into the envelope that a writer would give it, with a countable id."""
    return Event.of(
        fact.data,
        about=fact.about,
        id=f"event-{number}",
        source="tests/1",
        time=context.now,
        correlation=context.correlation if fact.correlation is None else fact.correlation,
        actor=context.actor,
    )


def snapshot(value: object) -> Any:  # noqa: ANN401  - plain values of any depth
    """Return plain values that are equal for equal states.

    Dataclass fields with ``compare=False`` and caches of calls are left out: these do not make a state.
    """
    if value is None or isinstance(value, str | bytes | int | float | type):
        return value
    if isinstance(value, Mapping):
        return {key: snapshot(each) for key, each in value.items()}
    if isinstance(value, AbstractSet):
        return {snapshot(each) for each in value}
    if isinstance(value, Sequence):
        return tuple(snapshot(each) for each in value)
    if isinstance(value, msgspec.Struct):
        names = value.__struct_fields__
    elif dataclasses.is_dataclass(value):
        names = tuple(field.name for field in dataclasses.fields(value) if field.compare)
    else:
        names = (*_slots(type(value)), *getattr(value, "__dict__", {}))
    if not names or callable(value):
        return value
    held = {name: getattr(value, name, None) for name in names}
    return type(value).__name__, {
        name: snapshot(each) for name, each in held.items() if not hasattr(each, "cache_clear")
    }


def _slots(cls: type) -> list[str]:
    return [name for base in cls.__mro__ for name in vars(base).get("__slots__", ())]


def _fact(each: Fact | Payload) -> Fact:
    return each if isinstance(each, Fact) else Fact("", each)
