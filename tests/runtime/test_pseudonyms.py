import json
from typing import Any

import msgspec

from roomledger.runtime.pseudonyms import PERSONAL, Pseudonyms
from roomledger_events.catalogue import CATALOGUE, decode
from roomledger_events.envelope import Commit, encode
from roomledger_events.rooms import ParticipantLeft, TextSent
from roomledger_events.subjects import Boundary, Kind
from tests.support.commits import PORTAL, ROOM, START, TOKENS, commit, created, issued, joined, joined_worker

HARMLESS = {
    "algorithm", "algorithms", "back_by", "code", "deadline", "decode", "encode", "expires_at",
    "incarnation", "isp", "isps", "manager", "node", "participant", "portal", "purpose", "reason",
    "refused", "region", "regions", "reserved_for", "role", "room", "sender", "service", "strategy",
    "task", "to", "token", "told", "worker",
}  # fmt: skip  # words
"""Fields with text that is made up by the system, or says nothing of a person."""


def fields_with_text(schema: dict[str, Any]) -> set[str]:
    """Return the names of all fields, however deep, that may hold any text."""
    found: set[str] = set()
    for described in schema["$defs"].values():
        for name, field in described.get("properties", {}).items():
            kinds = [field, *field.get("anyOf", []), *([field["items"]] if field.get("items") else [])]
            if any(kind.get("type") in {"string", "object"} and "format" not in kind for kind in kinds):
                found.add(name)
    return found


def replaced(given: Commit, pseudonyms: Pseudonyms | None = None) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = json.loads((pseudonyms or Pseudonyms()).body(given))
    return parts


def test_of_every_text_in_an_event_it_is_known_whether_it_is_personal() -> None:
    _, parts = msgspec.json.schema_components(CATALOGUE.values())
    assert fields_with_text({"$defs": parts}) <= HARMLESS | set(PERSONAL)
    assert not HARMLESS & set(PERSONAL)


def test_the_same_name_gets_the_same_pseudonym_in_every_event() -> None:
    pseudonyms = Pseudonyms()
    [token] = replaced(commit(1, TOKENS, issued("t1")), pseudonyms)
    [participant] = replaced(commit(2, ROOM, joined("p1")), pseudonyms)
    assert token["data"]["user"] == participant["data"]["user"]
    assert token["data"]["user"].startswith("user-")
    assert "Ada" not in json.dumps([token, participant])


def test_two_exports_have_nothing_in_common() -> None:
    given = commit(1, TOKENS, issued("t1"))
    assert replaced(given)[0]["data"]["user"] != replaced(given)[0]["data"]["user"]


def test_what_relates_events_to_each_other_stays() -> None:
    given = commit(1, ROOM, joined("p1", "t1"))
    [part] = replaced(given)
    assert (part["data"]["participant"], part["data"]["token"], part["data"]["portal"]) == ("p1", "t1", "w1")
    assert [part[name] for name in ("id", "type", "subject", "correlationid")] == [
        "e1.0", "ParticipantJoined", "x", "c",
    ]  # fmt: skip  # one line


def test_what_was_replaced_is_read_like_the_event_itself() -> None:
    for given in (commit(1, PORTAL, joined_worker("w1", hostname="h", properties={"a": ["10.0.0.9", 7]})),
                  commit(2, ROOM, created(), joined("p1"))):  # fmt: skip  # two commits
        again = decode(given.sequence, given.boundary, given.time, Pseudonyms().body(given))
        assert [type(event.data) for event in again.events] == [type(event.data) for event in given.events]


def test_messages_and_addresses_are_replaced_however_deep() -> None:
    worker = joined_worker("w1", ip="10.0.0.9", hostname="lab.example", properties={"also": ["10.0.0.9", 7]})
    text = commit(2, Boundary(Kind.TEXT, "r1"), TextSent(sender="p1", to="all", message="my secret"))
    dropped = commit(3, ROOM, ParticipantLeft(participant="p1", reason="dropped", message="my secret"))
    told = json.dumps([replaced(each) for each in (commit(1, PORTAL, worker), text, dropped)])
    for personal in ("10.0.0.9", "lab.example", "my secret"):
        assert personal not in told


def test_who_operates_is_replaced_and_services_stay() -> None:
    given = commit(1, ROOM, joined("p1"))
    [event] = given.events
    operated = msgspec.structs.replace(event, actor="operator:ada")
    [part, other] = replaced(Commit(1, ROOM, START, (operated, event)))
    assert part["actor"].startswith("operator:operator-")
    assert other["actor"] == "service:s1"


def test_what_cannot_be_read_is_left_empty_and_counted() -> None:
    pseudonyms = Pseudonyms()
    body = encode(commit(1, ROOM, joined("p1")).events).replace(b"ParticipantJoined", b"SomethingNewer")
    assert pseudonyms.body(decode(1, ROOM, START, body)) == b"[null]"
    assert pseudonyms.left_out == 1
