"""Whether what rooms say can be: who is in, by which token, under whose control."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, Final

import msgspec

from roomledger.domain.admission import ALL
from roomledger.domain.findings import Finding
from roomledger_events import rooms, tokens
from roomledger_events.envelope import Commit, Event, Payload
from roomledger_events.subjects import Kind

NAME: Final = "rooms"
_Wrong = Iterator[tuple[str, str]]
_KINDS: Final = frozenset({Kind.ROOM, Kind.TOKEN, Kind.TEXT})


class _Room(msgspec.Struct, gc=False):
    participants: dict[str, str]
    limit: int = 0
    there: bool = False
    generation: int = 0
    epoch: int = 0
    node: str | None = None


class _Token(msgspec.Struct, gc=False):
    room: str
    expires_at: datetime
    generation: int
    used_by: str | None = None
    revoked: bool = False


class RoomCheck:
    """Follows who is in which room, and which tokens are used up."""

    def __init__(self) -> None:
        self._rooms: dict[str, _Room] = {}
        self._tokens: dict[str, _Token] = {}
        self._joins = 0
        self._checks: dict[type[Payload], Callable[[str, _Room, Event, Any], _Wrong]] = {
            rooms.RoomCreated: self._created,
            rooms.RoomChanged: self._changed,
            rooms.RoomDeleted: self._deleted,
            rooms.ControllerTakenOver: self._taken_over,
            rooms.ControllerReleased: self._released,
            rooms.ParticipantJoined: self._joined,
            rooms.ParticipantLeft: self._left,
            rooms.ParticipantAway: self._present,
            rooms.ParticipantBack: self._present,
            rooms.PermissionChanged: self._present,
            rooms.TextSent: self._sent,
            tokens.TokenIssued: self._issued,
            tokens.TokenRevoked: self._revoked,
        }

    def take_in(self, commit: Commit) -> Iterable[Finding]:
        """Check the events of a room and of its tokens."""
        if commit.boundary.kind not in _KINDS:
            return ()
        name = commit.boundary.name
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = _Room({})
        found: list[Finding] = []
        for place, event in enumerate(commit.events):
            check = self._checks.get(type(event.data))
            if check is not None:
                found += [
                    Finding(NAME, commit.sequence, place, about, message)
                    for about, message in check(name, room, event, event.data)
                ]
        return found

    def end(self) -> Iterable[Finding]:
        """Return nothing: what is wrong shows at once."""
        return ()

    def figures(self) -> dict[str, int]:
        """Return how many rooms, tokens and joins there were."""
        return {"rooms": len(self._rooms), "tokens": len(self._tokens), "joins": self._joins}

    # -- By type of event: what is wrong, as what it is about and a sentence

    def _created(self, name: str, room: _Room, _: Event, data: rooms.RoomCreated) -> _Wrong:
        if room.there:
            yield name, "a room is created that is there already"
        if data.generation != room.generation + 1:
            yield name, f"generation {data.generation} follows {room.generation}"
        room.there, room.generation, room.limit = True, data.generation, data.settings.participant_limit

    def _changed(self, name: str, room: _Room, _: Event, data: rooms.RoomChanged) -> _Wrong:
        if not room.there:
            yield name, "a room is changed that is not there"
        room.limit = data.settings.participant_limit

    def _deleted(self, name: str, room: _Room, _: Event, __: rooms.RoomDeleted) -> _Wrong:
        if not room.there:
            yield name, "a room is deleted that is not there"
        room.there, room.node = False, None
        room.participants.clear()

    def _taken_over(self, name: str, room: _Room, _: Event, data: rooms.ControllerTakenOver) -> _Wrong:
        if not room.there:
            yield name, f"the node {data.node} takes a room over that is not there"
        if data.epoch != room.epoch + 1:
            yield name, f"epoch {data.epoch} follows {room.epoch}: there is to be one writer at a time"
        room.node, room.epoch = data.node, data.epoch

    def _released(self, name: str, room: _Room, _: Event, data: rooms.ControllerReleased) -> _Wrong:
        if data.node != room.node:
            yield name, f"the node {data.node} gives a room up that {room.node or 'no node'} decides for"
        if room.participants:
            yield name, f"the room is given up while {len(room.participants)} are in it"
        room.node = None

    def _joined(self, name: str, room: _Room, event: Event, data: rooms.ParticipantJoined) -> _Wrong:
        who = data.participant
        self._joins += 1
        if not room.there:
            yield who, f"joined the room {name}, which is not there"
        if room.node is None:
            yield who, f"joined the room {name}, for which no node decides"
        elif event.source != f"conference/{room.node}":
            yield who, f"was let in by {event.source}, and the node {room.node} decides for the room {name}"
        if who in room.participants:
            yield who, f"joined the room {name} twice"
        elif 0 < room.limit <= len(room.participants):
            yield (
                who,
                f"is number {len(room.participants) + 1} in the room {name}, whose limit is {room.limit}",
            )
        yield from self._used(name, room, event, data)
        room.participants[who] = data.token

    def _used(self, name: str, room: _Room, event: Event, data: rooms.ParticipantJoined) -> _Wrong:
        token = self._tokens.get(data.token)
        if token is None:
            yield data.token, f"{data.participant} joined with a token that was never issued"
            return
        if token.used_by is not None:
            yield data.token, f"{data.participant} joined with the token that {token.used_by} had used up"
        if token.room != name or token.generation != room.generation:
            yield data.token, f"it was issued for another room than {name}, which {data.participant} joined"
        if token.revoked:
            yield data.token, f"{data.participant} joined with it after it was revoked"
        if token.expires_at <= event.time:
            yield data.token, f"{data.participant} joined with it after it had expired"
        token.used_by = data.participant

    def _left(self, name: str, room: _Room, _: Event, data: rooms.ParticipantLeft) -> _Wrong:
        if room.participants.pop(data.participant, None) is None:
            yield data.participant, f"left the room {name} without being in it"

    def _present(
        self,
        name: str,
        room: _Room,
        event: Event,
        data: rooms.ParticipantAway | rooms.ParticipantBack | rooms.PermissionChanged,
    ) -> _Wrong:
        if data.participant not in room.participants:
            yield data.participant, f"{event.type} in the room {name} of somebody who is not in it"

    def _sent(self, name: str, room: _Room, _: Event, data: rooms.TextSent) -> _Wrong:
        for who in (data.sender, data.to):
            if who != ALL and who not in room.participants:
                yield who, f"a text in the room {name} from or to somebody who is not in it"

    def _issued(self, name: str, _: _Room, __: Event, data: tokens.TokenIssued) -> _Wrong:
        if data.token in self._tokens:
            yield data.token, "the token was issued twice"
        if data.room != name:
            yield data.token, f"a token for the room {data.room} stands with those of {name}"
        self._tokens[data.token] = _Token(name, data.expires_at, data.generation)

    def _revoked(self, _: str, __: _Room, ___: Event, data: tokens.TokenRevoked) -> _Wrong:
        token = self._tokens.get(data.token)
        if token is None:
            yield data.token, "a token was revoked that was never issued"
        else:
            token.revoked = True
