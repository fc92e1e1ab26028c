"""How a client gets in: its token is checked, its room is found, and the room is asked."""

from typing import Final

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.signed_token import Claims
from roomledger.event_store.errors import LogUnavailable
from roomledger.processes.portal.inquiries import Denied, Inquiries, Patience, on_behalf_of
from roomledger.processes.portal.session import Here
from roomledger.processes.portal.session_effects import Right
from roomledger.runtime.token_keys import TokenKeys
from roomledger.sdk.rooms import Controller, JoinedRoom

LOGIN_S: Final = 10.0
"""How long a login may take in all."""
ATTEMPT_S: Final = 2.0
"""How long a room has for its answer, before it is looked for anew."""


class Entrance:
    """Lets clients in.

    Args:
        keys: What tokens are signed with.
        inquiries: Asks rooms.
        controller: Asks the room at a node.
        here: This portal.
    """

    def __init__(self, keys: TokenKeys, inquiries: Inquiries, controller: Controller, here: Here) -> None:
        self._keys = keys
        self._inquiries = inquiries
        self._controller = controller
        self._here = here

    async def enter(self, claims: Claims, signature: str, participant: str) -> JoinedRoom | Denied:
        """Have the token's room let a participant in."""
        try:
            await self._keys.verify(claims, signature)
        except Refusal as refusal:
            return Denied(refusal, unsure=False)
        except LogUnavailable as error:
            return Denied(Refusal(Code.LOG_UNAVAILABLE, str(error)), unsure=False)
        right = Right(claims.token, claims.code, claims.room)

        async def join(node: str) -> JoinedRoom:
            return await self._controller.join(
                node,
                claims.room,
                claims.token,
                participant=participant,
                portal=self._here.portal,
                incarnation=self._here.incarnation,
                meta=on_behalf_of(right, participant, "join"),
            )

        return await self._inquiries.ask(right, participant, join, Patience(LOGIN_S, ATTEMPT_S))
