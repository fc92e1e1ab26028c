"""Sessions that lose their connection or their portal: nothing is missed, and nobody stays for ever."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from websockets.protocol import State

from roomledger.processes.conference import portal_watch
from roomledger_events.rooms import ParticipantAway, ParticipantBack, ParticipantJoined
from tests.support.cluster import TestCluster
from tests.support.conferences import Guests
from tests.support.nats import until
from tests.support.portals import Guest, Portals


@pytest.fixture
async def portals(
    cluster: TestCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Portals]:
    monkeypatch.setattr(portal_watch, "PERIOD_S", 0.2)
    async with AsyncExitStack() as stack:
        started = Portals(cluster, tmp_path, stack)
        await started.start(reconnection_timeout_ms=2_000)
        yield started


JOINED, AWAY, BACK, LEFT = "ParticipantJoined", "ParticipantAway", "ParticipantBack", "ParticipantLeft"


async def until_types(portals: Portals, participant: str, *types: str) -> None:
    """Wait until exactly this has happened to a participant."""
    found: list[str] = []
    async with asyncio.timeout(15):
        while found != list(types):
            found = await portals.of(participant)
            assert len(found) <= len(types), found
            await asyncio.sleep(0.02)


async def say(speaker: Guest, *messages: str) -> None:
    for message in messages:
        assert "seq" in await speaker.ask("text", to="all", message=message)


async def lose(portals: Portals, guest: Guest) -> None:
    """Cut a guest's connection, and wait until its room knows."""
    guest.abort()
    await until_types(portals, guest.id, JOINED, AWAY)


# -- The same portal


async def test_who_comes_back_gets_what_was_missed_once_and_in_order(portals: Portals) -> None:
    portal = await portals.portal("portal-1")
    speaker, guest = await portals.inside(portal.url, "bob"), await portals.inside(portal.url)
    await say(speaker, "one")
    await guest.until("text")
    await lose(portals, guest)
    await say(speaker, "two", "three")
    again = await portals.guest(portal.url)
    back = await again.relogin(guest.ticket, guest.last)
    assert [each["params"]["message"] for each in back["missed"]] == ["two", "three"]
    await say(speaker, "four")
    await again.until("text")
    assert again.texts() == ["four"]
    assert speaker.of("participant")[1:] == []


async def test_who_does_not_say_how_far_it_was_told_gets_what_was_not_sent(portals: Portals) -> None:
    portal = await portals.portal("portal-1")
    speaker, guest = await portals.inside(portal.url, "bob"), await portals.inside(portal.url)
    await say(speaker, "one")
    await guest.until("text")
    await lose(portals, guest)
    await say(speaker, "two")
    back = await (await portals.guest(portal.url)).relogin(guest.ticket)
    assert [each["params"]["message"] for each in back["missed"]] == ["two"]


async def test_a_connection_that_is_alive_is_taken_over_and_the_room_notices_nothing(
    portals: Portals,
) -> None:
    portal = await portals.portal("portal-1")
    guest = await portals.inside(portal.url)
    again = await portals.guest(portal.url)
    assert (await again.relogin(guest.ticket))["missed"] == []
    assert await guest.closed() == 4002
    await say(again, "still there")
    await again.until("text")
    assert await portals.of(guest.id) == [JOINED]


async def test_an_older_ticket_works_as_long_as_the_session_does(portals: Portals) -> None:
    portal = await portals.portal("portal-1")
    guest = await portals.inside(portal.url)
    newer = (await guest.ask("refresh_ticket"))["ticket"]
    assert newer != guest.ticket
    first = await portals.guest(portal.url)
    await first.relogin(guest.ticket)
    second = await portals.guest(portal.url)
    await second.relogin(guest.ticket)
    assert await first.closed() == 4002
    assert "participants" in await second.ask("participants")


async def test_who_does_not_come_back_in_time_leaves_and_the_ticket_is_void(portals: Portals) -> None:
    portal = await portals.portal("portal-1", reconnection_timeout_ms=300)
    other, guest = await portals.inside(portal.url, "bob"), await portals.inside(portal.url)
    guest.abort()
    (_, leave) = await other.until("participant", 2)
    assert (leave["action"], leave["reason"]) == ("leave", "not_back")
    again = await portals.guest(portal.url)
    assert (await again.ask("relogin", ticket=guest.ticket))["code"] == "session_ended"
    assert await again.closed() == 1008


@pytest.mark.parametrize("how", ["logout", "drop"])
async def test_a_ticket_is_void_after_a_logout_and_after_a_drop(portals: Portals, how: str) -> None:
    portal = await portals.portal("portal-1")
    guest = await portals.inside(portal.url)
    if how == "logout":
        await guest.ask("logout")
    else:
        await Guests(portals.cluster.access.broker, "test").drop("r1", guest.id)
    assert await guest.closed() == (1000 if how == "logout" else 4001)
    await until_types(portals, guest.id, JOINED, LEFT)
    again = await portals.guest(portal.url)
    assert (await again.ask("relogin", ticket=guest.ticket))["code"] == "session_ended"


async def test_who_may_not_come_back_has_no_ticket_and_leaves_at_once(portals: Portals) -> None:
    portal = await portals.portal("portal-1")
    guest = await portals.guest(portal.url)
    assert "ticket" not in await guest.login(await portals.token(portal.url), reconnect=False)
    guest.abort()
    await until_types(portals, guest.id, JOINED, LEFT)


async def test_a_failed_relogin_leaves_the_waiting_session_as_it_is(portals: Portals) -> None:
    portal = await portals.portal("portal-1")
    guest = await portals.inside(portal.url)
    await lose(portals, guest)
    bad = await portals.guest(portal.url)
    assert (await bad.ask("relogin", ticket=guest.ticket[:-8] + "AAAAAAA="))["code"] == "invalid_ticket"
    assert await bad.closed() == 1008
    await (await portals.guest(portal.url)).relogin(guest.ticket)


async def test_an_expired_ticket_is_refused(portals: Portals) -> None:
    portal = await portals.portal("portal-1", ticket_life_ms=1_000)
    guest = await portals.inside(portal.url)
    code = "invalid"
    async with asyncio.timeout(10):
        while code != "ticket_expired":
            again = await portals.guest(portal.url)
            code = (await again.ask("relogin", ticket=guest.ticket)).get("code", "taken back")


# -- Another portal


async def test_a_session_goes_on_at_another_portal_and_is_closed_at_the_first(portals: Portals) -> None:
    first, second = await portals.portal("portal-1"), await portals.portal("portal-2")
    speaker, guest = await portals.inside(second.url, "bob"), await portals.inside(first.url)
    await say(speaker, "one")
    await guest.until("text")
    again = await portals.guest(second.url)
    await again.relogin(guest.ticket, guest.last)
    assert await guest.closed() == 4002
    await say(speaker, "two")
    await again.until("text")
    assert again.texts() == ["two"]
    (back,) = [each.data for each in await portals.events() if isinstance(each.data, ParticipantBack)]
    assert (back.portal, back.epoch) == ("portal-2", 2)


async def test_the_grace_of_the_first_portal_is_void_once_another_has_the_session(portals: Portals) -> None:
    first = await portals.portal("portal-1", reconnection_timeout_ms=500)
    second = await portals.portal("portal-2")
    guest = await portals.inside(first.url)
    await lose(portals, guest)
    again = await portals.guest(second.url)
    await again.relogin(guest.ticket)
    away = next(each.data for each in await portals.events() if isinstance(each.data, ParticipantAway))
    assert away.back_by is not None
    async with asyncio.timeout(10):
        while datetime.now(UTC) < away.back_by + timedelta(milliseconds=200):
            assert len((await again.ask("participants"))["participants"]) == 1
            await asyncio.sleep(0.05)
    assert await portals.of(guest.id) == [JOINED, AWAY, BACK]


async def test_a_portal_that_stops_sends_its_clients_elsewhere(portals: Portals) -> None:
    first, second = await portals.portal("portal-1"), await portals.portal("portal-2")
    speaker, guest = await portals.inside(second.url, "bob"), await portals.inside(first.url)
    await first.stop()
    assert await guest.closed() == 1012
    await say(speaker, "one")
    again = await portals.guest(second.url)
    back = await again.relogin(guest.ticket)
    assert [each["params"]["message"] for each in back["missed"]] == ["one"]
    assert LEFT not in await portals.of(guest.id)


async def test_a_portal_that_drains_lets_nobody_new_in_and_keeps_who_is_there(portals: Portals) -> None:
    portal = await portals.portal("portal-1")
    guest = await portals.inside(portal.url)
    await portals.cluster.cluster().drain("portal-1")
    await until(lambda: portal.draining)
    fresh = await portals.guest(portal.url)
    answer = await fresh.ask("login", token=await portals.token(portal.url))
    assert answer["code"] == "not_ready"
    await (await portals.guest(portal.url)).relogin(guest.ticket)


async def test_a_portal_that_is_to_be_emptied_sends_its_clients_elsewhere(portals: Portals) -> None:
    first, second = await portals.portal("portal-1"), await portals.portal("portal-2")
    guest = await portals.inside(first.url)
    await portals.cluster.cluster().drain("portal-1", deadline_ms=1)
    assert await guest.closed() == 1012
    again = await portals.guest(first.url)
    assert (await again.ask("relogin", ticket=guest.ticket))["code"] == "not_ready"
    await (await portals.guest(second.url)).relogin(guest.ticket)


# -- A portal that dies without a word


async def test_what_was_missed_between_a_kill_and_the_return_elsewhere_is_told(portals: Portals) -> None:
    first, second = await portals.process("portal-1"), await portals.portal("portal-2")
    speaker = await portals.inside(second.url, "bob")
    guest = await portals.inside(first.ready["portal"])
    await say(speaker, "one")
    await guest.until("text")
    await first.stop(signal.SIGKILL)
    await say(speaker, "two")
    again = await portals.guest(second.url)
    back = await again.relogin(guest.ticket, guest.last)
    assert [each["params"]["message"] for each in back["missed"]] == ["two"]
    assert LEFT not in await portals.of(guest.id)


async def test_the_sessions_of_a_portal_that_was_killed_wait_and_then_leave(portals: Portals) -> None:
    first, second = await portals.process("portal-1"), await portals.portal("portal-2")
    other, guest = await portals.inside(second.url, "bob"), await portals.inside(first.ready["portal"])
    await first.stop(signal.SIGKILL)
    leave = (await other.until("participant", 2))[-1]
    assert (leave["action"], leave["participant"]["id"], leave["reason"]) == ("leave", guest.id, "not_back")
    assert await portals.of(guest.id) == [JOINED, AWAY, LEFT]


async def test_a_portal_that_is_killed_and_started_again_under_its_id_knows_who_waits(
    portals: Portals,
) -> None:
    first = await portals.process("portal-1")
    gone, guest = await portals.inside(first.ready["portal"]), await portals.inside(first.ready["portal"])
    await first.stop(signal.SIGKILL)
    again = await portals.portal("portal-1")
    back = await portals.guest(again.url)
    await back.relogin(guest.ticket)
    await until_types(portals, gone.id, JOINED, AWAY, LEFT)
    assert LEFT not in await portals.of(guest.id)
    assert "participants" in await back.ask("participants")


async def test_a_portal_that_the_cluster_gave_up_by_mistake_keeps_its_sessions(portals: Portals) -> None:
    portal = await portals.portal("portal-1")
    guest = await portals.inside(portal.url)

    async def is_given_up() -> bool:
        # It joins again at once: a room that looks in between has not noticed.
        await portals.cluster.cluster().quit("portal-1")
        return AWAY in await portals.of(guest.id)

    async def is_back() -> bool:
        return (await portals.of(guest.id))[-1] == BACK

    await until(is_given_up, 30)
    await until(is_back, 10)
    await say(guest, "still there")
    await guest.until("text")


# -- While the log is away


async def test_nobody_is_sent_away_and_nothing_is_lost_while_nats_server_is_away(portals: Portals) -> None:
    portal = await portals.portal("portal-1")
    speaker, guest = await portals.inside(portal.url, "bob"), await portals.inside(portal.url)
    await say(speaker, "one")
    await portals.cluster.server.stop()
    away_from = asyncio.get_running_loop().time()
    assert (await guest.ask("participants"))["code"] == "log_unavailable"
    assert (await speaker.ask("text", to="all", message="lost?"))["code"] == "log_unavailable"
    fresh = await portals.guest(portal.url)
    assert (await fresh.ask("relogin", ticket=guest.ticket))["code"] == "log_unavailable"
    # Longer than the lease of a worker and the grace of a session together.
    await asyncio.sleep(max(0.0, away_from + 6 - asyncio.get_running_loop().time()))
    await portals.cluster.server.start()
    answer: dict[str, object] = {}
    async with asyncio.timeout(5):
        while "seq" not in answer:
            answer = await speaker.ask("text", to="all", message="two")
    await until(lambda: "two" in guest.texts(), 5)
    assert guest.texts() == speaker.texts()
    assert set(guest.texts()) - {"lost?"} == {"one", "two"}
    assert len(guest.texts()) == len(set(guest.texts()))
    assert guest.socket.state is State.OPEN
    assert {LEFT} & {each.type for each in await portals.events()} == set()


async def test_a_connection_that_is_lost_while_nats_server_is_away_is_told_to_the_room_later(
    portals: Portals,
) -> None:
    portal = await portals.portal("portal-1")
    guest = await portals.inside(portal.url)
    await portals.cluster.server.stop()
    guest.abort()
    await until(lambda: portal.connections == 0)
    await portals.cluster.server.start()
    await until_types(portals, guest.id, JOINED, AWAY)
    await (await portals.guest(portal.url)).relogin(guest.ticket)


# -- Who hangs up


@pytest.mark.parametrize("reconnect", [True, False])
async def test_who_hangs_up_at_any_moment_of_a_login_leaves_nothing_behind(
    portals: Portals, *, reconnect: bool
) -> None:
    portal = await portals.portal("portal-1", reconnection_timeout_ms=500)

    async def hang_up(after_ms: int) -> None:
        guest = await portals.guest(portal.url)
        token = await portals.token(portal.url)
        asking = asyncio.create_task(guest.ask("login", token=token, reconnect=reconnect))
        await asyncio.wait({asking}, timeout=after_ms / 1000)
        guest.abort()
        await guest.closed()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    await asyncio.gather(*(hang_up(after_ms) for after_ms in range(0, 60, 2)))
    await portal.stop()
    there = {"somebody"}
    async with asyncio.timeout(15):
        while there:
            there = await present(portals)
    joined = [each.data.token for each in await portals.events() if isinstance(each.data, ParticipantJoined)]
    assert len(joined) == len(set(joined))
    types = [each.type for each in await portals.events()]
    assert types.count(JOINED) == types.count(LEFT)


async def present(portals: Portals) -> set[str]:
    return await Guests(portals.cluster.access.broker, "test").present("r1")
