"""Explanations from the log: the state at a decision is what the log led to before it."""

from collections.abc import Sequence
from contextlib import aclosing
from datetime import datetime

import msgspec

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.explanation import Explanation, explain
from roomledger.domain.purpose import PurposeSettings
from roomledger.domain.repetition import missing_reports, retraced
from roomledger.domain.scheduler import SCHEDULER
from roomledger.event_store.store import ReadableLog
from roomledger_events.envelope import Commit
from roomledger_events.rooms import ControllerTakenOver, JoinRefused, ParticipantJoined
from roomledger_events.subjects import ANY, Boundary, Kind
from roomledger_events.tokens import TokenIssued, TokenRevoked

CONFERENCE = "conference"
PORTAL = "portal"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a token at its room.

    Attributes:
        sequence: Where it stands.
        time: When it was.
        what: ``joined``, ``refused`` or ``revoked``.
        participant: Who joined or was refused.
        reason: Why.
        node: The node that decided for the room then.
    """

    sequence: int
    time: datetime
    what: str
    participant: str | None = None
    reason: str | None = None
    node: str | None = None


class TokenExplanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why a token's user got where they got.

    Attributes:
        token: The token's id.
        issued: The event that says what it was issued for.
        sequence: Where that stands.
        portal: The decisions on its portal.
        conference: The decision that its room's worker was chosen by when it was used; null for none.
        outcomes: What became of it, in order.
    """

    token: str
    issued: TokenIssued
    sequence: int
    portal: tuple[Explanation, ...]
    conference: Explanation | None
    outcomes: tuple[Outcome, ...]

    @property
    def agrees(self) -> bool | None:
        """Whether all its decisions are what the rules lead to; None where that cannot be told of one."""
        said = [each.agrees for each in (*self.portal, *((self.conference,) if self.conference else ()))]
        return False if False in said else None if None in said else True


async def explained(
    log: ReadableLog, settings: PurposeSettings, task: str, *, until: int | None = None
) -> Explanation:
    """Explain the last decision on a task.

    Args:
        log: The log.
        settings: What counted for the task's purpose where the log does not say it.
        task: Its id.
        until: The last sequence to look at; None for the log's end.

    Raises:
        Refusal: No decision on such a task is in the log (``no_such_task``).
        EventStoreError: The log could not be read.
    """
    return (await all_explained(log, settings, task, until=until, last=True))[-1]


async def all_explained(
    log: ReadableLog,
    settings: PurposeSettings,
    task: str,
    *,
    until: int | None = None,
    last: bool = False,
) -> Sequence[Explanation]:
    """Explain every decision on a task, in order.

    Args:
        log: The log.
        settings: What counted for the task's purpose where the log does not say it.
        task: Its id.
        until: The last sequence to look at; None for the log's end.
        last: Whether the last one is enough.

    Raises:
        Refusal: No decision on such a task is in the log (``no_such_task``).
        EventStoreError: The log could not be read.
    """
    retracing = Retracing(settings, task)
    head = await log.position()
    end = head.sequence if until is None else min(until, head.sequence)
    boundaries = (Boundary(Kind.SCHEDULER, settings.purpose), Boundary(Kind.LOAD, settings.purpose))
    found: list[Explanation] = []
    async with aclosing(log.read(boundaries, until=end)) as commits:
        async for commit in commits:
            explanations = retracing.take_in(commit)
            if explanations and last:
                found.clear()
            found += explanations
    if not found:
        raise Refusal(Code.NO_SUCH_TASK, f"the log has no decision on the task {task} of {settings.purpose}")
    return found


async def token_explained(
    log: ReadableLog, portals: PurposeSettings, conferences: PurposeSettings, token: str
) -> TokenExplanation:
    """Explain where a token led.

    Args:
        log: The log.
        portals: What counted for portals where the log does not say it.
        conferences: The same for conference workers.
        token: Its id.

    Raises:
        Refusal: No such token is in the log (``invalid_token``).
        EventStoreError: The log could not be read.
    """
    issued, sequence = await _issue(log, token)
    outcomes = await _outcomes(log, issued)
    conference: Explanation | None = None
    if outcomes:
        try:
            conference = await explained(log, conferences, issued.room, until=outcomes[-1].sequence)
        except Refusal as refusal:
            if refusal.code is not Code.NO_SUCH_TASK:
                raise
    try:
        portal = tuple(await all_explained(log, portals, issued.code))
    except Refusal as refusal:
        if refusal.code is not Code.NO_SUCH_TASK:
            raise
        portal = ()
    return TokenExplanation(
        token=token,
        issued=issued,
        sequence=sequence,
        portal=portal,
        conference=conference,
        outcomes=tuple(outcomes),
    )


class Retracing:
    """Folds a purpose's commits, and explains the decisions on one task on the way.

    Args:
        settings: What counted for the purpose where the log does not say it.
        task: Whose decisions are explained; None for all.
    """

    def __init__(self, settings: PurposeSettings, task: str | None) -> None:
        self.state = SCHEDULER(settings).initial()
        self._task = task
        self._whole = True

    def take_in(self, commit: Commit) -> list[Explanation]:
        """Take a commit in and explain what it decided."""
        found = []
        for decision in retraced(self.state, commit.events):
            if self._task is None or decision.data.task == self._task:
                found.append(explain(self.state, decision, commit.sequence, whole=self._whole))
            self._whole = self._whole and not missing_reports(self.state, decision.data)
        return found


async def _issue(log: ReadableLog, token: str) -> tuple[TokenIssued, int]:
    async with aclosing(log.read((Boundary(Kind.TOKEN, ANY),))) as commits:
        async for commit in commits:
            for event in commit.events:
                if isinstance(event.data, TokenIssued) and event.data.token == token:
                    return event.data, commit.sequence
    raise Refusal(Code.INVALID_TOKEN, f"the log has no token {token[:64]!r}")


async def _outcomes(log: ReadableLog, issued: TokenIssued) -> list[Outcome]:
    found: list[Outcome] = []
    node: str | None = None
    async with aclosing(log.read((Boundary(Kind.ROOM, issued.room),))) as commits:
        async for commit in commits:
            for event in commit.events:
                data = event.data
                if isinstance(data, ControllerTakenOver):
                    node = data.node
                elif isinstance(data, ParticipantJoined | JoinRefused) and data.token == issued.token:
                    refused = data.reason if isinstance(data, JoinRefused) else None
                    found.append(
                        Outcome(
                            sequence=commit.sequence,
                            time=event.time,
                            what="refused" if refused else "joined",
                            participant=data.participant,
                            reason=refused,
                            node=node,
                        )
                    )
                elif isinstance(data, TokenRevoked) and data.token == issued.token:
                    found.append(Outcome(sequence=commit.sequence, time=event.time, what="revoked"))
    return found
