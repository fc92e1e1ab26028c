"""The keys that portals sign tickets with: shared by all of them, and none of the token keys."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.ticket import Ticket, read, sign
from roomledger.event_store.connection import connect
from roomledger.runtime.ticket_keys import TicketKeys
from roomledger.runtime.token_keys import TokenKeys
from roomledger.settings import Settings
from tests.support.nats import NatsServer

TICKET = Ticket(
    participant="p1",
    ticket="k1",
    not_before=0,
    not_after=1,
    room="r1",
    token="t1",
    code="c1",
    epoch=1,
    joined="1.0",
    told="1.0",
    count=0,
    protocol="native",
)


@pytest.fixture
async def keys(nats_server: NatsServer) -> AsyncIterator[tuple[TicketKeys, TicketKeys, TokenKeys]]:
    async with AsyncExitStack() as stack:
        broker = await connect(nats_server.url, "service", nats_server.credentials["service"])
        stack.push_async_callback(broker.close)
        made = (
            TicketKeys(broker, Settings()),
            TicketKeys(broker, Settings()),
            TokenKeys(broker, Settings()),
        )
        for each in made:
            await each.load()
        yield made


async def test_a_ticket_that_one_portal_issued_is_good_at_another(
    keys: tuple[TicketKeys, TicketKeys, TokenKeys],
) -> None:
    ticket, signature = read(sign(keys[0].signing, TICKET))
    await keys[1].verify_ticket(ticket, signature)


async def test_tickets_are_signed_with_a_key_of_their_own(
    keys: tuple[TicketKeys, TicketKeys, TokenKeys],
) -> None:
    with pytest.raises(Refusal) as refused:
        await keys[0].verify_ticket(*read(sign(keys[2].signing, TICKET)))
    assert refused.value.code is Code.INVALID_TICKET


async def test_the_tickets_that_are_out_stay_good_when_the_token_key_is_replaced(
    keys: tuple[TicketKeys, TicketKeys, TokenKeys],
) -> None:
    text = sign(keys[0].signing, TICKET)
    await keys[2].rotate()
    await keys[1].load()
    await keys[1].verify_ticket(*read(text))


async def test_a_ticket_key_that_was_replaced_is_good_as_long_as_a_ticket(
    keys: tuple[TicketKeys, TicketKeys, TokenKeys],
) -> None:
    text = sign(keys[0].signing, TICKET)
    made = await keys[0].rotate()
    await keys[1].load()
    await keys[1].verify_ticket(*read(text))
    until = keys[1].keys[1].good_until
    assert until is not None
    assert (until - made.created).total_seconds() > 600
