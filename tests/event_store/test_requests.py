import asyncio

import pytest

from roomledger.event_store.errors import LogUnavailable
from roomledger.event_store.requests import API, STREAM_NOT_FOUND, ApiError, Requests
from tests.event_store.logs import LogInJetStream


async def test_what_jetstream_refuses_is_raised_with_its_number(jetstream: LogInJetStream) -> None:
    requests = Requests(jetstream.connection, 0.5)
    with pytest.raises(ApiError) as caught:
        await requests.ask("asking", f"{API}.STREAM.INFO.NONE", within_s=1)
    assert caught.value.number == STREAM_NOT_FOUND
    assert not caught.value.unknown_before


async def test_where_nobody_answers_it_is_tried_until_the_time_is_up(jetstream: LogInJetStream) -> None:
    admin = Requests(await jetstream.connect(user="admin"), 0.5)
    before = admin.connection.stats["out_msgs"]
    with pytest.raises(LogUnavailable, match=r"asking \(nobody keeps it there\)"):
        await admin.ask("asking", "nobody.listens.here", within_s=0.3)
    assert admin.connection.stats["out_msgs"] - before > 2


async def test_a_request_that_nobody_took_is_known_not_to_be_carried_out(jetstream: LogInJetStream) -> None:
    admin = Requests(await jetstream.connect(user="admin"), 0.5)
    with pytest.raises(LogUnavailable) as caught:
        await admin.ask("asking", "nobody.listens.here", within_s=0.1)
    assert not caught.value.unknown_outcome


async def test_an_answer_that_does_not_come_leaves_the_outcome_unknown(jetstream: LogInJetStream) -> None:
    admin = Requests(await jetstream.connect(user="admin"), 0.1)
    await admin.connection.subscribe("silent", cb=_say_nothing)
    with pytest.raises(LogUnavailable) as caught:
        await admin.ask("asking", "silent", within_s=0.3)
    assert caught.value.unknown_outcome


async def test_a_request_can_be_cancelled(jetstream: LogInJetStream) -> None:
    admin = Requests(await jetstream.connect(user="admin"), 5)
    await admin.connection.subscribe("silent", cb=_say_nothing)
    asking = asyncio.create_task(admin.ask("asking", "silent", within_s=5))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def _say_nothing(_: object) -> None:
    pass
