"""How a client gets in: its token is checked, its room is found, and the room is asked.

What may go away by itself within the time of a login is tried again: a room that is on its way to another
node, a node that has just gone. Every attempt is the same command, so that it is carried out once.
"""

import asyncio
from typing import Final, NamedTuple

import structlog

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.signed_token import Claims
from roomledger.event_store.errors import LogUnavailable
from roomledger.processes.portal.whereabouts import Place, Whereabouts
from roomledger.runtime.calls import RequestMeta
from roomledger.runtime.token_keys import TokenKeys
from roomledger.sdk.rooms import Controller, JoinedRoom

LOGIN_S: Final = 10.0
"""How long a login may take in all."""
ATTEMPT_S: Final = 2.0
"""How long a room has for its answer, before it is looked for anew."""

AGAIN: Final = frozenset(
    {Code.NOT_READY, Code.WRONG_CONTROLLER, Code.NO_SUCH_NODE, Code.NO_NODE, Code.ALL_IN_FULL_LOAD}
)
"""Refusals that a node which takes the room over mends."""
UNSURE: Final = frozenset({Code.NOT_READY, Code.LOG_UNAVAILABLE, Code.INTERNAL})
"""Refusals of a join after which the participant may be in all the same: an answer got lost."""
_FIRST_PAUSE_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 0.5

log = structlog.get_logger(__name__)


class Denied(NamedTuple):
    """The client was not let in.

    Attributes:
        refusal: Why.
        unsure: Whether it may be in all the same.
    """

    refusal: Refusal
    unsure: bool


def on_behalf_of(claims: Claims, participant: str, command: str) -> RequestMeta:
    """Return what the requests say of themselves that a token sets off."""
    return RequestMeta(
        command=f"{command}:{participant}", correlation=claims.token, actor=f"participant:{participant}"
    )


class Entrance:
    """Lets clients in.

    Args:
        keys: What tokens are signed with.
        whereabouts: Where rooms are run.
        controller: Asks a room.
        portal: The id of this portal's worker.
    """

    def __init__(
        self, keys: TokenKeys, whereabouts: Whereabouts, controller: Controller, portal: str
    ) -> None:
        self._keys = keys
        self._whereabouts = whereabouts
        self._controller = controller
        self._portal = portal

    async def enter(self, claims: Claims, signature: str, participant: str) -> JoinedRoom | Denied:
        """Have the token's room let a participant in."""
        try:
            await self._keys.verify(claims, signature)
        except Refusal as refusal:
            return Denied(refusal, unsure=False)
        except LogUnavailable as error:
            return Denied(Refusal(Code.LOG_UNAVAILABLE, str(error)), unsure=False)
        end = asyncio.get_running_loop().time() + LOGIN_S
        pause, unsure = _FIRST_PAUSE_S, False
        while True:
            outcome = await self._attempt(claims, participant, end)
            if isinstance(outcome, JoinedRoom):
                return outcome
            unsure |= outcome.unsure
            left = end - asyncio.get_running_loop().time()
            if outcome.refusal.code not in AGAIN or left <= pause:
                return Denied(outcome.refusal, unsure)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _attempt(self, claims: Claims, participant: str, end: float) -> JoinedRoom | Denied:
        place: Place | None = None
        try:
            async with asyncio.timeout_at(end):
                place = await self._whereabouts.of(claims.room, on_behalf_of(claims, participant, "find"))
                async with asyncio.timeout(ATTEMPT_S):
                    return await self._controller.join(
                        place.node,
                        claims.room,
                        claims.token,
                        participant=participant,
                        portal=self._portal,
                        meta=on_behalf_of(claims, participant, "join"),
                    )
        except TimeoutError:
            refusal = Refusal(Code.NOT_READY, "the room does not answer in time")
        except Refusal as error:
            refusal = error
        except Exception:
            log.exception("a login failed", room=claims.room, token=claims.token)
            refusal = Refusal(Code.INTERNAL, "something went wrong here; the log lines say what")
        if place is not None and refusal.code in AGAIN:
            self._whereabouts.forget(claims.room, place)
        return Denied(refusal, unsure=place is not None and refusal.code in UNSURE)
