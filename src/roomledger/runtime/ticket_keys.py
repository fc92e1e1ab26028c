"""The keys that portals sign tickets with: beside the token keys, since tickets live longer.

Nobody but portals need them; replacing the token key leaves the tickets good that are out.
"""

from typing import Final

from nats.aio.client import Client

from roomledger.domain.ticket import Ticket, verify
from roomledger.runtime.token_keys import TokenKeys
from roomledger.settings import Settings

ENTRY: Final = "ticket"


class TicketKeys(TokenKeys):
    """The keys as this portal knows them.

    Args:
        broker: The connection.
        settings: Names the bucket, and how long tickets live.
    """

    def __init__(self, broker: Client, settings: Settings) -> None:
        super().__init__(broker, settings, entry=ENTRY, life_ms=settings.ticket_life_ms)

    async def verify_ticket(self, ticket: Ticket, signature: str) -> None:
        """Return if the signature is good; a key that is not known here yet is looked up.

        Raises:
            Refusal: It is not (`INVALID_TICKET`).
            LogUnavailable: It is not good by the keys known here, and the broker did not answer.
        """
        await self._check(lambda keys: verify(keys, ticket, signature))
