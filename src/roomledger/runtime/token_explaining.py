"""Where a token led, from the log: its portal, its room's worker, and what became of it at the room."""

from collections.abc import Callable, Iterable
from contextlib import aclosing
from datetime import datetime
from itertools import chain

import msgspec

from roomledger.domain.checking_rooms import RoomCheck
from roomledger.domain.errors import Code, Refusal
from roomledger.domain.explanation import Explanation
from roomledger.domain.findings import Finding
from roomledger.domain.purpose import PurposeSettings
from roomledger.event_store.store import ReadableLog
from roomledger.runtime.explaining import Retracing, boundaries_of
from roomledger.runtime.progress import Progress
from roomledger.runtime.slices import in_slices
from roomledger_events.envelope import Commit, Event
from roomledger_events.rooms import ControllerTakenOver, JoinRefused, ParticipantJoined
from roomledger_events.subjects import ANY, Boundary, Kind
from roomledger_events.tokens import TokenIssued, TokenRevoked

CONFERENCE = "conference"
PORTAL = "portal"
JOINED = "joined"


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
        findings: What cannot be of what the log says of it, or of who joined with it.
    """

    token: str
    issued: TokenIssued
    sequence: int
    portal: tuple[Explanation, ...]
    conference: Explanation | None
    outcomes: tuple[Outcome, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def decisions(self) -> tuple[Explanation, ...]:
        """All decisions that it led to."""
        return (*self.portal, *((self.conference,) if self.conference else ()))

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """What cannot be of the token, of who joined with it, and of the tasks that it led to."""
        of_tasks = chain.from_iterable(each.findings for each in self.decisions)
        return tuple(dict.fromkeys((*of_tasks, *self.findings)))


async def token_explained(
    log: ReadableLog,
    portals: PurposeSettings,
    conferences: PurposeSettings,
    token: str,
    *,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> TokenExplanation:
    """Explain where a token led; whoever shares the event loop has turns meanwhile.

    Args:
        log: The log.
        portals: What counted for portals where the log does not say it.
        conferences: The same for conference workers.
        token: Its id.
        on_progress: Told now and then; the log is gone through twice.

    Raises:
        Refusal: No such token is in the log (``invalid_token``).
        EventStoreError: The log could not be read.
    """
    end = (await log.position()).sequence
    life = _Life(token)
    read = log.read((Boundary(Kind.TOKEN, ANY), Boundary(Kind.ROOM, ANY)), until=end)
    async with aclosing(in_slices(read, end, on_progress)) as commits:
        async for commit in commits:
            life.take_in(commit)
    if life.issued is None:
        raise Refusal(Code.INVALID_TOKEN, f"the log has no token {token[:64]!r}")
    at_portal = Retracing(portals, life.issued.code)
    at_room = Retracing(conferences, life.issued.room)
    used = life.outcomes[-1].sequence if life.outcomes else 0
    portal: list[Explanation] = []
    conference: list[Explanation] = []
    wanted = [*boundaries_of(PORTAL), *(boundaries_of(CONFERENCE) if used else ())]
    async with aclosing(in_slices(log.read(wanted, until=end), end, on_progress)) as commits:
        async for commit in commits:
            if commit.boundary.name == PORTAL:
                portal += at_portal.take_in(commit)
            elif commit.sequence <= used:
                conference = at_room.take_in(commit) or conference
    return TokenExplanation(
        token=token,
        issued=life.issued,
        sequence=life.sequence,
        portal=tuple(at_portal.named(portal)),
        conference=next(reversed(at_room.named(conference)), None),
        outcomes=tuple(life.outcomes),
        findings=tuple(life.findings()),
    )


class _Life:
    """What tokens and rooms say of one token."""

    def __init__(self, token: str) -> None:
        self.issued: TokenIssued | None = None
        self.sequence = 0
        self.outcomes: list[Outcome] = []
        self._token = token
        self._nodes: dict[str, str] = {}
        self._check = RoomCheck()
        self._findings: list[Finding] = []

    def take_in(self, commit: Commit) -> None:
        self._findings += self._check.take_in(commit)
        for event in commit.events:
            data = event.data
            if isinstance(data, ControllerTakenOver):
                self._nodes[commit.boundary.name] = data.node
            elif isinstance(data, TokenIssued):
                if data.token == self._token and self.issued is None:
                    self.issued, self.sequence = data, commit.sequence
            elif (
                isinstance(data, ParticipantJoined | JoinRefused | TokenRevoked) and data.token == self._token
            ):
                self.outcomes.append(_outcome(commit, event, data, self._nodes.get(commit.boundary.name)))

    def findings(self) -> Iterable[Finding]:
        """Return what is wrong with the token, or with who joined with it."""
        concerned = {self._token} | {each.participant for each in self.outcomes if each.what == JOINED}
        return (each for each in self._findings if each.about in concerned)


def _outcome(
    commit: Commit, event: Event, data: ParticipantJoined | JoinRefused | TokenRevoked, node: str | None
) -> Outcome:
    if isinstance(data, TokenRevoked):
        return Outcome(sequence=commit.sequence, time=event.time, what="revoked")
    refused = data.reason if isinstance(data, JoinRefused) else None
    return Outcome(
        sequence=commit.sequence,
        time=event.time,
        what="refused" if refused else JOINED,
        participant=data.participant,
        reason=refused,
        node=node,
    )
