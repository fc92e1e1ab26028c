"""Events of tokens. That a token was used is told by the `ParticipantJoined` that names it."""

from datetime import datetime
from typing import ClassVar

from roomledger_events.envelope import Payload
from roomledger_events.subjects import Kind
from roomledger_events.tasks import Preference


class TokenIssued(Payload, frozen=True, kw_only=True):
    """A token was issued. Its signature is a secret and is not in the log.

    Attributes:
        token: Its id.
        code: The portal's task.
        room: The room that it opens.
        service: The service that asked for it.
        user: The name that the application gives.
        role: The role that it lets its user join in.
        portal: The worker that was reserved for it.
        expires_at: It cannot be used from then on.
        origin: The isp and the region of the user.
        generation: Of which of the rooms that this id has had, as its `RoomCreated` says.
    """

    kind: ClassVar[Kind] = Kind.TOKEN
    token: str
    code: str
    room: str
    service: str
    user: str
    role: str
    portal: str
    expires_at: datetime
    origin: Preference = Preference()
    generation: int = 1


class TokenRevoked(Payload, frozen=True, kw_only=True):
    """A token was revoked. It stands with the room's events, so that it and a join cannot miss each other."""

    kind: ClassVar[Kind] = Kind.ROOM
    token: str
