"""Existing clients in all versions, by their own library, with real rooms."""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio

from roomledger.processes.portal import socketio_client, socketio_engine
from roomledger_events.identifiers import new_id
from tests.support.cluster import running_cluster
from tests.support.conferences import Guests
from tests.support.existing_clients import (
    POLLING,
    VERSIONS,
    WEBSOCKET,
    Campus,
    ExistingClient,
    Heard,
    done,
    said_by_ticket,
    wish,
)
from tests.support.existing_clients import (
    campus as running_campus,
)
from tests.support.nats import NatsServer, until

pytestmark = pytest.mark.asyncio(loop_scope="module")
every_version = pytest.mark.parametrize("version", VERSIONS)
every_transport = pytest.mark.parametrize(
    "transports", [POLLING, WEBSOCKET, POLLING + WEBSOCKET], ids="+".join
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Campus]:
    path = tmp_path_factory.mktemp("campus")
    server = NatsServer(path / "nats")
    await server.start()
    async with running_cluster(server, path / "data") as cluster, running_campus(cluster) as campus:
        yield campus
    await server.close()


@pytest_asyncio.fixture(loop_scope="module")
async def campus(shared: Campus) -> AsyncIterator[Campus]:
    async with shared.visit() as visit:
        yield visit


# -- The words of each version


def joined(version: str, who: str, user: str = "ada") -> Heard:
    if version == "legacy":
        return Heard("user_join", ({"user": {"id": who, "name": user, "role": "presenter"}},))
    return Heard("participant", ({"action": "join", "data": {"id": who, "user": user, "role": "presenter"}},))


def left(version: str, who: str) -> Heard:
    if version == "legacy":
        return Heard("user_leave", ({"user": {"id": who}},))
    return Heard("participant", ({"action": "leave", "data": who},))


def said(version: str, sender: str, to: str, message: str) -> Heard:
    if version == "legacy":
        return Heard("custom_message", ({"from": sender, "to": to, "data": message},))
    return Heard("text", ({"from": sender, "to": to, "message": message},))


async def say(client: ExistingClient, to: str, message: str) -> list[Any]:
    if client.version == "legacy":
        return await client.ask("customMessage", {"type": "data", "receiver": to, "data": message})
    return await client.ask("text", {"to": to, "message": message})


# -- Login


@every_version
@every_transport
async def test_a_login_is_answered_with_all_that_the_client_needs(
    campus: Campus, version: str, transports: tuple[str, ...]
) -> None:
    room = await campus.room()
    other = await campus.guest(room, "1.0", "eve")
    client = await campus.guest(room, version, "ada", transports=transports)
    result = dict(client.result)
    ticket_text = result.pop("reconnectionTicket")
    assert said_by_ticket(ticket_text)["participantId"] == client.id
    if version == "legacy":
        assert result == {
            "clientId": client.id,
            "id": room,
            "streams": [],
            "users": [
                {"id": other.id, "name": "eve", "role": "presenter"},
                {"id": client.id, "name": "ada", "role": "presenter"},
            ],
        }
    else:
        everything = {"audio": True, "video": True}
        assert result == {
            "user": "ada",
            "role": "presenter",
            "permission": {"publish": everything, "subscribe": everything},
            "room": {
                "id": room,
                "views": [],
                "participants": [
                    {"id": other.id, "user": "eve", "role": "presenter"},
                    {"id": client.id, "user": "ada", "role": "presenter"},
                ],
                "streams": [],
            },
            "id": client.id,
        }
    assert await campus.present(room) == {client.id, other.id}


@every_version
@pytest.mark.parametrize("kind", ["JavaScript", "Android", "C++", "Objective-C"])
async def test_an_sdk_that_may_reconnect_gets_a_ticket(campus: Campus, version: str, kind: str) -> None:
    client = await campus.guest(await campus.room(), version, kind=kind)
    claims = said_by_ticket(client.ticket)
    assert claims["notAfter"] - claims["notBefore"] == 600_000
    assert {"participantId", "ticketId", "notBefore", "notAfter", "signature"} <= set(claims)


@every_version
async def test_another_sdk_gets_no_ticket_and_no_grace(campus: Campus, version: str) -> None:
    room = await campus.room()
    witness = await campus.guest(room, "1.1")
    client = await campus.guest(room, version, kind="Swift")
    assert "reconnectionTicket" not in client.result
    await witness.hear()
    assert await client.ask("refreshReconnectionTicket") == ["error", "Reconnection is not allowed"]
    await client.cut()
    assert await witness.hear() == left("1.1", client.id)


# -- Logins that are refused: (what is wrong, what is told)


async def refused(client: ExistingClient, event: str, *arguments: Any) -> str:  # noqa: ANN401  - JSON values
    """Return what a login or relogin is refused with; the client is disconnected then."""
    status, text = await client.ask(event, *arguments)
    assert status == "error"
    assert await client.disconnected()
    return str(text)


@pytest.mark.parametrize("protocol", ["1.3", "", "legacy", 1.2, [], {}])
async def test_an_unknown_protocol_is_refused(campus: Campus, protocol: object) -> None:
    client = await campus.client()
    wrong = wish("x", "legacy") | {"protocol": protocol}
    assert await refused(client, "login", wrong) == "Unknown client protocol"


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
async def test_sdk_3_5_with_a_protocol_is_refused(campus: Campus, version: str) -> None:
    wrong = wish("x", version) | {"userAgent": {"sdk": {"type": "JavaScript", "version": "3.5"}}}
    assert await refused(await campus.client(), "login", wrong) == "Deprecated client version"


async def test_sdk_3_5_without_a_protocol_is_let_in(campus: Campus) -> None:
    client = await campus.client("legacy")
    token = await campus.token(await campus.room())
    old = wish(token, "legacy") | {"userAgent": {"sdk": {"type": "JavaScript", "version": "3.5"}}}
    assert (await client.ask("login", old))[0] == "success"


@every_version
@pytest.mark.parametrize("agent", [None, {}, {"sdk": {}}, {"sdk": {"type": "JavaScript"}}, "JavaScript"])
async def test_a_user_agent_that_is_incomplete_is_refused(
    campus: Campus, version: str, agent: object
) -> None:
    wrong = wish("x", version) | {"userAgent": agent}
    assert await refused(await campus.client(), "login", wrong) == "User agent info is incorrect"


@every_version
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("%%%", "the token is not base64"),
        (b64encode(b"no json").decode(), "the token is not what it should be"),
        (b64encode(b"{}").decode(), "the token is not what it should be"),
        (None, "the token is no text"),
        ({"a": 1}, "the token is no text"),
    ],
)
async def test_a_token_that_cannot_be_decoded_is_refused_with_the_reason(
    campus: Campus, version: str, text: object, why: str
) -> None:
    told = await refused(await campus.client(), "login", wish(text, version))
    assert told.startswith(why)


@every_version
async def test_a_token_that_another_key_signed_is_refused(campus: Campus, version: str) -> None:
    token = campus.sign("r", token="t", key=b"another key" * 3)
    told = await refused(await campus.client(), "login", wish(token, version))
    assert told == "Invalid token signature"


@every_version
async def test_an_expired_token_is_refused(campus: Campus, version: str) -> None:
    room = await campus.room()
    token = campus.sign(room, token=await campus.cluster.token(room, life_s=-1))
    assert await refused(await campus.client(), "login", wish(token, version)) == "Expired"


@every_version
async def test_a_full_room_refuses_and_the_token_stays_good(campus: Campus, version: str) -> None:
    room = await campus.room(limit=1)
    first = await campus.guest(room)
    token = await campus.token(room)
    assert await refused(await campus.client(), "login", wish(token, version)) == "Room is full"
    await first.ask("logout")
    client = await campus.client(version)
    await client.login(token)


@every_version
async def test_a_used_token_is_answered_and_its_client_disconnected(campus: Campus, version: str) -> None:
    room = await campus.room()
    token = await campus.token(room)
    await (await campus.client(version)).login(token)
    told = await refused(await campus.client(version), "login", wish(token, version))
    assert "used" in told


@every_version
async def test_a_room_that_is_not_there_is_refused(campus: Campus, version: str) -> None:
    room = f"room-{new_id()}"
    token = campus.sign(room, token=new_id())
    assert await refused(await campus.client(), "login", wish(token, version))


@every_version
async def test_of_several_faults_the_first_is_told(campus: Campus, version: str) -> None:
    token = campus.sign("r", token="t", key=b"another key" * 3)
    wrong = wish(token, version) | {"userAgent": {}}
    assert await refused(await campus.client(), "login", wrong) == "User agent info is incorrect"
    wrong |= {"protocol": "9"}
    assert await refused(await campus.client(), "login", wrong) == "Unknown client protocol"


@every_version
async def test_a_second_login_is_refused_and_the_connection_kept(campus: Campus, version: str) -> None:
    room = await campus.room()
    client = await campus.guest(room, version)
    for event, argument in (("login", wish(await campus.token(room), version)), ("login", None)):
        assert await client.ask(event, argument) == ["error", "Connection is in service"]
    for argument in (client.ticket, None):
        assert await client.ask("relogin", argument) == ["error", "Connection is in service"]
    assert await say(client, "all", "still here") == [done(version)]


@pytest.mark.parametrize("argument", [None, 1, "x", [], {}, [None], True])
@every_transport
async def test_a_login_with_anything_but_an_object_is_refused_and_the_portal_lives(
    campus: Campus, argument: object, transports: tuple[str, ...]
) -> None:
    client = await campus.client(transports=transports)
    assert await refused(client, "login", argument) == "User agent info is incorrect"


async def test_a_login_without_an_argument_is_refused(campus: Campus) -> None:
    assert await refused(await campus.client(), "login") == "User agent info is incorrect"


# -- Requests before login


@pytest.mark.parametrize(
    "event", ["text", "customMessage", "logout", "refreshReconnectionTicket", "publish", ""]
)
async def test_a_request_before_login_is_illegal_and_the_connection_kept(campus: Campus, event: str) -> None:
    client = await campus.client()
    assert await client.ask(event, {"to": "all", "message": "m"}) == ["error", "Illegal request"]
    await client.login(await campus.token(await campus.room()))


@every_version
async def test_a_request_that_there_is_not_is_illegal(campus: Campus, version: str) -> None:
    client = await campus.guest(await campus.room(), version)
    assert await client.ask("publish", {}) == ["error", "Illegal request"]


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
async def test_custom_messages_are_for_legacy_clients(campus: Campus, version: str) -> None:
    client = await campus.guest(await campus.room(), version)
    message = {"type": "data", "receiver": "all", "data": "m"}
    assert await client.ask("customMessage", message) == ["error", "Illegal request"]


# -- Who comes and goes, and what is said


@every_version
async def test_a_join_and_a_leave_are_told_to_the_others_only(campus: Campus, version: str) -> None:
    room = await campus.room()
    client = await campus.guest(room, version)
    other = await campus.guest(room, "1.2", "eve")
    assert await client.hear() == joined(version, other.id, "eve")
    assert await other.ask("logout") == ["ok"]
    assert await client.hear() == left(version, other.id)
    assert await client.silent()
    assert await other.silent()


@every_version
async def test_a_text_to_all_goes_to_everybody_with_its_sender(campus: Campus, version: str) -> None:
    room = await campus.room()
    clients = {each: await campus.guest(room, each) for each in VERSIONS}
    for client in clients.values():
        for _ in VERSIONS[VERSIONS.index(client.version) + 1 :]:
            await client.hear()  # those who joined later
    sender = clients[version]
    assert await say(sender, "all", "hello") == [done(version)]
    for each, client in clients.items():
        assert await client.hear() == said(each, sender.id, "all", "hello")


@every_version
async def test_a_direct_text_goes_to_its_target_only(campus: Campus, version: str) -> None:
    room = await campus.room()
    target = await campus.guest(room, version)
    sender = await campus.guest(room, "1.0")
    third = await campus.guest(room, "1.1")
    assert await sender.hear() == joined("1.0", third.id)
    for who in (sender, third):
        assert await target.hear() == joined(version, who.id)
    assert await say(sender, target.id, "psst") == ["ok"]
    assert await target.hear() == said(version, sender.id, "me", "psst")
    assert await sender.silent()
    assert await third.silent()


async def test_a_legacy_client_may_send_texts_as_well(campus: Campus) -> None:
    client = await campus.guest(await campus.room(), "legacy")
    assert await client.ask("text", {"to": "all", "message": "hello"}) == ["success"]
    assert await client.hear() == said("legacy", client.id, "all", "hello")


@every_version
@pytest.mark.parametrize("receiver", [None, "", 7, [], {}])
async def test_a_receiver_that_is_none_is_invalid(campus: Campus, version: str, receiver: Any) -> None:  # noqa: ANN401  - JSON values
    client = await campus.guest(await campus.room(), version)
    assert await say(client, receiver, "m") == ["error", "Invalid receiver"]


@every_version
async def test_a_receiver_who_is_not_in_is_told_of(campus: Campus, version: str) -> None:
    client = await campus.guest(await campus.room(), version)
    status, text = await say(client, "nobody", "m")
    assert status == "error"
    assert "nobody" in text


@every_version
@pytest.mark.parametrize("arguments", [[], [None], [1], [[]], ["text"]])
async def test_a_text_that_is_none_is_refused_and_the_portal_lives(
    campus: Campus, version: str, arguments: list[Any]
) -> None:
    client = await campus.guest(await campus.room(), version)
    assert await client.ask("text", *arguments) == ["error", "Invalid receiver"]
    assert await say(client, "all", "still here") == [done(version)]


async def test_a_custom_message_of_another_type_is_refused(campus: Campus) -> None:
    client = await campus.guest(await campus.room(), "legacy")
    message = {"type": "control", "receiver": "all", "data": "m"}
    assert await client.ask("customMessage", message) == ["error", "Invalid message type"]


@every_version
async def test_requests_need_no_callback(campus: Campus, version: str) -> None:
    room = await campus.room()
    witness = await campus.guest(room, "1.2")
    client = await campus.client(version)
    await client.send("login", wish(await campus.token(room), version))
    heard = await witness.hear()
    who = heard.arguments[0]["data"]["id"]
    assert heard == joined("1.2", who)

    async def answered() -> bool:
        return (await client.ask("refreshReconnectionTicket"))[0] == done(version)

    await until(answered)
    await client.send("text", {"to": "all", "message": "hello"})
    assert await witness.hear() == said("1.2", who, "all", "hello")
    await client.send("refreshReconnectionTicket")
    await client.send("logout")
    assert await witness.hear() == left("1.2", who)


@every_version
async def test_who_is_dropped_is_told_null_and_disconnected(campus: Campus, version: str) -> None:
    room = await campus.room()
    client = await campus.guest(room, version)
    witness = await campus.guest(room, "1.2")
    await client.hear()
    await Guests(campus.cluster.access.broker, "test").drop(room, client.id)
    assert await client.hear() == Heard("drop", (None,))
    assert await client.disconnected()
    assert await witness.hear() == left("1.2", client.id)
    again = await campus.client(version)
    assert await refused(again, "relogin", client.ticket) == "Client does NOT exist"


# -- Logout


@every_version
async def test_a_logout_has_one_ack_argument_and_leaves_the_socket_open(campus: Campus, version: str) -> None:
    room = await campus.room()
    client = await campus.guest(room, version)
    assert await client.ask("logout") == [done(version)]
    assert await client.ask("logout") == ["error", "Illegal request"]
    assert client.connected

    async def nobody() -> bool:
        return await campus.present(room) == set()

    await until(nobody)


@every_version
async def test_a_login_after_a_logout_makes_a_new_session_and_doubles_nothing(
    campus: Campus, version: str
) -> None:
    room = await campus.room()
    client = await campus.guest(room, version)
    witness = await campus.guest(room, "1.0")
    assert await client.hear() == joined(version, witness.id)
    seen = [client.id]
    for _ in range(3):
        await client.ask("logout")
        await client.login(await campus.token(room))
        seen.append(client.id)
    assert len(set(seen)) == 4
    await say(client, "all", "once")
    for before, after in pairwise(seen):
        assert await witness.hear() == left("1.0", before)
        assert await witness.hear() == joined("1.0", after)
    assert await witness.hear() == said("1.0", client.id, "all", "once")
    assert await client.hear() == said(version, client.id, "all", "once")
    assert await witness.silent()
    assert await client.silent()


@every_version
async def test_a_logout_voids_the_tickets(campus: Campus, version: str) -> None:
    client = await campus.guest(await campus.room(), version)
    await client.ask("logout")
    again = await campus.client(version)
    assert await refused(again, "relogin", client.ticket) == "Client does NOT exist"


# -- Tickets


@every_version
async def test_a_refresh_is_answered_with_another_ticket(campus: Campus, version: str) -> None:
    client = await campus.guest(await campus.room(), version)
    status, text = await client.ask("refreshReconnectionTicket")
    assert status == done(version)
    assert text != client.ticket
    assert said_by_ticket(text)["participantId"] == client.id


def ticket_of(answer: list[Any], version: str) -> str:
    """Return the ticket in a relogin's acknowledgement, whose shape is checked."""
    status, payload = answer
    assert status == done(version), payload
    if version == "1.2":
        assert set(payload) == {"ticket", "messages"}
        payload = payload["ticket"]
    assert isinstance(payload, str)
    return payload


@every_version
@every_transport
async def test_a_lost_connection_is_taken_up_with_the_ticket_and_nobody_sees_a_leave(
    campus: Campus, version: str, transports: tuple[str, ...]
) -> None:
    room = await campus.room()
    witness = await campus.guest(room, "1.0")
    client = await campus.guest(room, version, transports=transports)
    assert await witness.hear() == joined("1.0", client.id)
    await client.cut()
    again = await campus.client(version, transports)
    fresh = ticket_of(await again.ask("relogin", client.ticket), version)
    assert said_by_ticket(fresh)["participantId"] == client.id
    assert await say(again, "all", "back") == [done(version)]
    assert await witness.hear() == said("1.0", client.id, "all", "back")


@every_version
async def test_what_was_missed_is_delivered_in_order(campus: Campus, version: str) -> None:
    room = await campus.room()
    other = await campus.guest(room, "1.0", "eve")
    client = await campus.guest(room, version)
    await other.hear()
    await client.cut()
    third = await campus.guest(room, "1.0", "bob")
    for number in range(3):
        await say(other, "all", f"missed {number}")
    await say(other, client.id, "psst")
    await third.ask("logout")
    expected = [
        joined(version, third.id, "bob"),
        *[said(version, other.id, "all", f"missed {number}") for number in range(3)],
        said(version, other.id, "me", "psst"),
        left(version, third.id),
    ]
    again = await campus.client(version)
    answer = await again.ask("relogin", client.ticket)
    ticket_of(answer, version)
    if version == "1.2":
        missed = answer[1]["messages"]
        assert [Heard(each["event"], (each["data"],)) for each in missed] == expected
        assert [each["seq"] for each in missed] == [1, 2, 3, 4, 5, 6]
    else:
        assert [await again.hear() for _ in expected] == expected
    assert await again.silent()
    await say(other, "all", "news")
    assert await again.hear() == said(version, other.id, "all", "news")


async def test_in_1_2_seq_counts_the_sessions_notifications_without_gaps_across_relogins(
    campus: Campus,
) -> None:
    room = await campus.room()
    other = await campus.guest(room, "1.0")
    client = await campus.guest(room, "1.2")
    had, tickets, count = [], client.ticket, 0
    for turn in range(3):
        for number in range(4):
            await say(other, "all", f"{turn}.{number}")
            had.append((await client.hear()).arguments[0]["message"])
            count += 1
        await client.cut()
        for number in range(4, 7):
            await say(other, "all", f"{turn}.{number}")
        client = await campus.client("1.2")
        _, payload = await client.ask("relogin", tickets)
        tickets = payload["ticket"]
        numbers = [each["seq"] for each in payload["messages"]]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert numbers[0] <= count + 1
        fresh = [each for each in payload["messages"] if each["seq"] > count]
        had += [each["data"]["message"] for each in fresh]
        count = numbers[-1]
    assert had == [f"{turn}.{number}" for turn in range(3) for number in range(7)]
    assert count == 21


@pytest.mark.parametrize("version", ["1.0", "1.1", "legacy"])
async def test_what_an_unanswering_client_was_sent_is_sent_again(campus: Campus, version: str) -> None:
    room = await campus.room()
    client = await campus.guest(room, version)
    other = await campus.guest(room, "1.0")
    await client.hear()
    await say(other, "all", "lost on the way")
    await client.hear()
    await client.cut()
    again = await campus.client(version)
    ticket_of(await again.ask("relogin", client.ticket), version)
    assert await again.hear() == joined(version, other.id)
    assert await again.hear() == said(version, other.id, "all", "lost on the way")
    assert await again.silent()


@every_version
async def test_what_a_ping_has_shown_to_have_come_is_not_sent_again(
    campus: Campus, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert campus.portal._socketio is not None
    monkeypatch.setattr(campus.portal._socketio._listener._server.eio, "ping_interval", 0.05)
    room = await campus.room()
    client = await campus.guest(room, version)
    other = await campus.guest(room, "1.0")
    await client.hear()
    await say(other, "all", "heard")
    await client.hear()
    assert campus.portal._lobby is not None
    session = campus.portal._lobby._seats[client.id]._session
    await until(lambda: session.surely_told_to == session.told_to)
    await client.cut()
    await say(other, "all", "missed")
    again = await campus.client(version)
    _, payload = await again.ask("relogin", client.ticket)
    if version == "1.2":
        assert [(each["seq"], each["data"]["message"]) for each in payload["messages"]] == [(3, "missed")]
    else:
        assert await again.hear() == said(version, other.id, "all", "missed")
    assert await again.silent()


async def test_the_whole_answer_to_a_relogin_is_taken_for_the_ticket_in_it(campus: Campus) -> None:
    client = await campus.guest(await campus.room(), "1.2")
    shown: Any = client.ticket
    for _ in range(3):
        await client.cut()
        client = await campus.client("1.2")
        status, shown = await client.ask("relogin", shown)
        assert status == "ok"


@every_version
async def test_a_connection_that_is_alive_is_taken_over_and_closed(campus: Campus, version: str) -> None:
    room = await campus.room()
    witness = await campus.guest(room, "1.0")
    client = await campus.guest(room, version)
    await witness.hear()
    again = await campus.client(version)
    ticket_of(await again.ask("relogin", client.ticket), version)
    assert await client.disconnected()
    assert await say(again, "all", "here") == [done(version)]
    assert await witness.hear() == said("1.0", client.id, "all", "here")


@every_version
async def test_an_older_ticket_works_as_long_as_the_session(campus: Campus, version: str) -> None:
    client = await campus.guest(await campus.room(), version)
    oldest = client.ticket
    for _ in range(2):
        await client.ask("refreshReconnectionTicket")
    for _ in range(2):
        await client.cut()
        client = await campus.client(version)
        ticket_of(await client.ask("relogin", oldest), version)


def forged(text: str, **changes: Any) -> str:  # noqa: ANN401  - JSON values
    claims = said_by_ticket(text) | changes
    return b64encode(json.dumps(claims, separators=(",", ":")).encode()).decode()


@every_version
async def test_relogins_are_refused_in_the_words_that_clients_know(campus: Campus, version: str) -> None:
    room = await campus.room()
    witness = await campus.guest(room, "1.0")
    client = await campus.guest(room, version)
    await witness.hear()
    good = client.ticket
    await client.cut()
    wrong = {
        "%%%": "the ticket is not base64",
        b64encode(b"{}").decode(): "the ticket is not what it should be",
        forged(good, notAfter=1): "Ticket is expired",
        forged(good, notAfter=1, signature="x"): "Ticket is expired",
        forged(good, signature="x"): "Invalid reconnection ticket signature",
        forged(good, participantId="somebody"): "Invalid reconnection ticket signature",
        forged(good, ticketId="another"): "Invalid reconnection ticket signature",
        forged(good, protocol="native"): "Reconnection is not allowed",
    }
    for text, why in wrong.items():
        told = await refused(await campus.client(version), "relogin", text)
        assert told.startswith(why)
    again = await campus.client(version)
    ticket_of(await again.ask("relogin", good), version)
    assert await witness.silent()


@pytest.mark.parametrize("shown", [None, 1, [], {}, {"ticket": 1}])
async def test_a_relogin_without_a_ticket_is_refused(campus: Campus, shown: object) -> None:
    assert await refused(await campus.client(), "relogin", shown) == "the ticket is no text"


# -- Many, and too much


async def test_a_text_to_many_is_written_once_for_1_x_and_once_for_legacy(
    campus: Campus, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await campus.room()
    clients = [await campus.guest(room, version) for version in VERSIONS * 2]
    for number, client in enumerate(clients, 1):
        for _ in clients[number:]:
            await client.hear()  # those who joined later
    written: list[str] = []

    def write(name: str, data: object) -> socketio_engine.Pushed:
        written.append(name)
        return socketio_engine.event(name, data)

    monkeypatch.setattr(socketio_client, "event", write)
    assert await say(clients[0], "all", "hello") == ["ok"]
    for client in clients:
        assert await client.hear() == said(client.version, clients[0].id, "all", "hello")
    assert sorted(written) == ["custom_message", "text"]


async def test_a_thousand_logins_on_one_connection_are_answered_and_nobody_else_notices(
    campus: Campus,
) -> None:
    room = await campus.room()
    witness = await campus.guest(room)
    client = await campus.guest(room)
    await witness.hear()
    answers = await asyncio.gather(*(client.ask("login", None) for _ in range(1000)))
    assert {tuple(each) for each in answers} <= {
        ("error", "Connection is in service"),
        ("error", "too many messages"),
    }
    assert await say(witness, "all", "well") == ["ok"]
    assert await witness.silent() is False
    assert client.connected
