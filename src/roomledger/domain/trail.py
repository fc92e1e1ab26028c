"""The trail of one thing: all the events of the log that belong to its story.

A token's are those that it set off, those of its portal's task, and those of the participant who used it up;
a participant's are its token's too; a user's are those of all tokens and participants of that name. A room's,
a worker's and a task's are those that name it.
"""

from typing import Final

from roomledger_events.envelope import Event
from roomledger_events.mentions import Mention, Thing, mentions
from roomledger_events.rooms import JoinRefused, ParticipantJoined
from roomledger_events.subjects import ANY, Boundary, Kind
from roomledger_events.tokens import TokenIssued

_LEADING: Final = frozenset({Thing.TOKEN, Thing.PARTICIPANT, Thing.USER})
_TOLD_BY: Final = (Boundary(Kind.TOKEN, ANY), Boundary(Kind.ROOM, ANY))


class Trail:
    """What belongs to one thing: first it learns, then it tells.

    Args:
        thing: What it is.
        id: Its id, or the user's name.
    """

    def __init__(self, thing: Thing, id: str) -> None:  # noqa: A002  - as in events
        self.start = Mention(thing, id)
        self._issued: dict[str, TokenIssued] = {}
        self._joins: list[tuple[str, str, str]] = []

    @property
    def told_by(self) -> tuple[Boundary, ...]:
        """The boundaries whose events it has to learn from; empty if there is nothing to learn."""
        return _TOLD_BY if self.start.thing in _LEADING else ()

    def learn(self, event: Event) -> None:
        """Take in what an event says of which token, task and participant belong together."""
        data = event.data
        if isinstance(data, TokenIssued):
            self._issued[data.token] = data
        elif isinstance(data, ParticipantJoined):
            self._joins.append((data.participant, data.user, data.token))
        elif isinstance(data, JoinRefused):
            self._joins.append((data.participant, "", data.token))

    @property
    def tokens(self) -> set[str]:
        """The tokens that belong to it, as far as it has learnt."""
        thing, name = self.start
        if thing is Thing.TOKEN:
            return {name}
        if thing is Thing.PARTICIPANT:
            return {token for participant, _, token in self._joins if participant == name}
        if thing is Thing.USER:
            joined = {token for _, user, token in self._joins if user == name}
            return joined | {token for token, issued in self._issued.items() if issued.user == name}
        return set()

    @property
    def sought(self) -> frozenset[Mention]:
        """What its events name: each of them at least one of these."""
        found = {self.start}
        tokens = self.tokens
        for token in tokens:
            found |= {Mention(Thing.TOKEN, token), Mention(Thing.CORRELATION, token)}
            if token in self._issued:
                found.add(Mention(Thing.TASK, self._issued[token].code))
        for participant, user, token in self._joins:
            if user and token in tokens:  # whoever was refused did not use it up
                found.add(Mention(Thing.PARTICIPANT, participant))
        return frozenset(found)


def is_on(sought: frozenset[Mention], boundary: Boundary, event: Event) -> bool:
    """Whether an event belongs to a trail, by what the trail's events name."""
    return not sought.isdisjoint(mentions(boundary, event))
