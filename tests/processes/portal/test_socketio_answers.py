"""What existing clients are answered and told, in the words of their versions."""

import pytest

from roomledger.domain import signed_token, ticket
from roomledger.domain.errors import Code, Refusal
from roomledger.processes.portal import socketio_answers as answers
from roomledger.processes.portal.notifications import News, Notification, Permitted, Presence, RoomSet, Said
from roomledger.processes.portal.recollection import Told
from roomledger.processes.portal.session_effects import Problem
from roomledger.processes.portal.socketio_answers import Event
from roomledger.processes.portal.socketio_requests import Version
from roomledger.sdk.rooms import JoinedRoom, ParticipantView, RoomView
from roomledger_events.envelope import Address
from roomledger_events.rooms import Media, Permission, RoomSettings

ADA = ParticipantView(id="p1", user="ada", role="presenter")
HERE = Address(7)
JOIN = Presence(action="join", participant=ADA, address=HERE)
LEAVE = Presence(action="leave", participant=ADA, reason="logout", address=HERE)
TO_ALL = Said(sender="p2", to="all", message="hello", address=HERE)
TO_ONE = Said(sender="p2", to="p1", message="psst", address=HERE)
JOINED = JoinedRoom(
    id="p1",
    user="ada",
    role="presenter",
    permission=Permission(publish=Media(audio=True), subscribe=Media(audio=True, video=True)),
    room=RoomView(id="r1", name="Room", views=("common",), participants=(ADA,)),
    seq="7.0",
)


@pytest.mark.parametrize(
    ("notification", "event", "legacy"),
    [
        (
            JOIN,
            Event(
                "participant", {"action": "join", "data": {"id": "p1", "user": "ada", "role": "presenter"}}
            ),
            Event("user_join", {"user": {"id": "p1", "name": "ada", "role": "presenter"}}),
        ),
        (
            LEAVE,
            Event("participant", {"action": "leave", "data": "p1"}),
            Event("user_leave", {"user": {"id": "p1"}}),
        ),
        (
            TO_ALL,
            Event("text", {"from": "p2", "to": "all", "message": "hello"}),
            Event("custom_message", {"from": "p2", "to": "all", "data": "hello"}),
        ),
        (
            TO_ONE,
            Event("text", {"from": "p2", "to": "me", "message": "psst"}),
            Event("custom_message", {"from": "p2", "to": "me", "data": "psst"}),
        ),
    ],
)
def test_each_notification_in_the_words_of_each_version(
    notification: Notification, event: Event, legacy: Event
) -> None:
    assert answers.event(notification) == event
    assert answers.legacy_event(notification) == legacy


@pytest.mark.parametrize(
    "notification",
    [
        Permitted(participant="p1", permission=Permission(), address=HERE),
        RoomSet(settings=RoomSettings(name="Room"), address=HERE),
    ],
)
def test_what_their_protocol_has_no_words_for_is_not_told(notification: Notification) -> None:
    assert answers.event(notification) is None
    assert answers.legacy_event(notification) is None


@pytest.mark.parametrize("version", [Version.V1_0, Version.V1_1, Version.V1_2])
def test_a_login_is_answered_with_permission_and_room(version: Version) -> None:
    assert answers.login_result(JOINED, "T", version) == {
        "user": "ada",
        "role": "presenter",
        "permission": {
            "publish": {"video": False, "audio": True},
            "subscribe": {"video": True, "audio": True},
        },
        "room": {
            "id": "r1",
            "views": ["common"],
            "participants": [{"id": "p1", "user": "ada", "role": "presenter"}],
            "streams": [],
        },
        "id": "p1",
        "reconnectionTicket": "T",
    }


def test_a_legacy_login_is_answered_with_users() -> None:
    assert answers.login_result(JOINED, "T", Version.LEGACY) == {
        "clientId": "p1",
        "id": "r1",
        "streams": [],
        "users": [{"id": "p1", "name": "ada", "role": "presenter"}],
        "reconnectionTicket": "T",
    }


@pytest.mark.parametrize("version", list(Version))
def test_without_the_right_to_come_back_there_is_no_ticket(version: Version) -> None:
    assert "reconnectionTicket" not in answers.login_result(JOINED, None, version)


def test_in_1_2_what_was_missed_comes_with_the_ticket_and_its_numbers() -> None:
    permitted = Permitted(participant="p1", permission=Permission(), address=HERE)
    missed = [Told(4, News(TO_ALL)), Told(4, News(permitted)), Told(5, News(LEAVE))]
    assert answers.resumption("T", missed) == {
        "ticket": "T",
        "messages": [
            {"event": "text", "data": {"from": "p2", "to": "all", "message": "hello"}, "seq": 4},
            {"event": "participant", "data": {"action": "leave", "data": "p1"}, "seq": 5},
        ],
    }


@pytest.mark.parametrize(
    ("code", "message", "text"),
    [
        ("already_logged_in", "x", "Connection is in service"),
        ("not_logged_in", "x", "Illegal request"),
        ("token_expired", "x", "Expired"),
        ("room_full", "x", "Room is full"),
        ("invalid_role", "x", "Invalid role"),
        ("ticket_expired", "x", "Ticket is expired"),
        ("session_ended", "x", "Client does NOT exist"),
        ("invalid_token", signed_token.BAD_SIGNATURE, "Invalid token signature"),
        ("invalid_ticket", ticket.BAD_SIGNATURE, "Invalid reconnection ticket signature"),
        ("invalid_token", "the token is not base64", "the token is not base64"),
        ("token_used", "this token was used", "this token was used"),
    ],
)
def test_a_refusal_is_told_in_the_words_that_clients_know(code: str, message: str, text: str) -> None:
    assert answers.refusal(Problem(code, message)) == text


def test_the_words_are_found_for_what_the_checks_of_tokens_raise() -> None:
    claims = signed_token.Claims(token="t", host="h:1", secure=False, room="r", code="c", url="ws://h:1/")
    with pytest.raises(Refusal) as caught:
        signed_token.verify([b"k" * 32], claims, "wrong")
    assert caught.value.code is Code.INVALID_TOKEN
    assert answers.refusal(Problem.of(caught.value)) == "Invalid token signature"
