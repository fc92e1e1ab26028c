import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from referencing import Registry, Resource

from roomledger_events.__main__ import FOLDER, texts, write
from roomledger_events.catalogue import CATALOGUE
from roomledger_events.documents import ENVELOPE, Document, asyncapi, schemas, types_of
from roomledger_events.envelope import MAX_EVENTS, Event, Payload, encode, to_json
from roomledger_events.subjects import GUARDED, Kind, Subjects
from tests.support.event_samples import events

SCHEMAS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("schema/*.json"))}
GENERATED = texts()
ASYNCAPI = yaml.safe_load((FOLDER / "asyncapi.yaml").read_text())
REGISTRY: Registry[Any] = Registry().with_resources(
    [(f"{folder}{name}.json", Resource.from_contents(schema))
     for name, schema in SCHEMAS.items() for folder in ("", "./schema/", "schema/")]
)  # fmt: skip


def validator(schema: Document) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema, registry=REGISTRY)


ENVELOPE_VALIDATOR = validator(SCHEMAS[ENVELOPE])


def resolve(reference: str) -> object:
    """Follow a reference in the AsyncAPI document."""
    path, _, pointer = reference.partition("#/")
    found: Any = json.loads((FOLDER / path).read_text()) if path else ASYNCAPI
    for step in pointer.split("/") if pointer else ():
        found = found[step]
    return found


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


# -- What is committed


@pytest.mark.parametrize("path", GENERATED)
def test_what_is_committed_is_what_the_classes_say(path: str):
    assert (FOLDER / path).read_text() == GENERATED[path], "run `python -m roomledger_events`"


def test_every_type_has_its_schema_and_nothing_else_has():
    assert set(SCHEMAS) == {*CATALOGUE, ENVELOPE}


def test_what_is_generated_is_the_same_each_time():
    assert texts() == GENERATED


def test_writing_brings_a_folder_up_to_date(tmp_path: Path):
    assert len(write(tmp_path)) == len(CATALOGUE) + 2
    assert write(tmp_path) == []
    (tmp_path / "schema" / "NodePainted.json").write_text("{}")
    (tmp_path / "asyncapi.yaml").write_text("old")
    changed = {path.name for path in write(tmp_path)}
    assert changed == {"NodePainted.json", "asyncapi.yaml"}
    assert not (tmp_path / "schema" / "NodePainted.json").exists()


# -- The schemas


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_one_and_says_what_it_describes(name: str):
    schema = SCHEMAS[name]
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == name
    assert schema["description"]


@pytest.mark.parametrize("cls", CATALOGUE.values(), ids=CATALOGUE)
def test_every_event_that_can_be_written_fits_its_schemas(cls: type[Payload]):
    data_validator = validator(SCHEMAS[cls.__name__])

    @settings(max_examples=8)
    @given(event=events(cls))
    def fits(event: Event) -> None:
        written = json.loads(to_json(event))
        data_validator.validate(written["data"])
        ENVELOPE_VALIDATOR.validate(written)

    fits()


@pytest.mark.parametrize("name", CATALOGUE)
def test_data_without_what_they_need_do_not_fit(name: str):
    assert not validator(SCHEMAS[name]).is_valid({})


def test_the_envelope_says_which_data_go_with_which_type():
    event = {
        "specversion": "1.0", "id": "i", "type": "NodeReady", "source": "s", "time": "2025-01-01T00:00:00Z",
        "subject": "n", "correlationid": "c", "actor": "a", "dataversion": 1, "data": {"node": "n1"},
    }  # fmt: skip
    assert ENVELOPE_VALIDATOR.is_valid(event)
    assert not ENVELOPE_VALIDATOR.is_valid({**event, "data": {"room": "r1"}})
    assert not ENVELOPE_VALIDATOR.is_valid({**event, "type": "RoomDeleted"})
    assert not ENVELOPE_VALIDATOR.is_valid({**event, "type": "NodePainted"})
    assert not ENVELOPE_VALIDATOR.is_valid({**event, "dataversion": 2})
    assert not ENVELOPE_VALIDATOR.is_valid({**event, "specversion": "0.3"})


def test_times_are_marked_as_such():
    assert SCHEMAS["TokenIssued"]["properties"]["expires_at"]["format"] == "date-time"
    assert SCHEMAS["ParticipantAway"]["properties"]["back_by"]["anyOf"][0]["format"] == "date-time"


def test_attributes_are_described_by_what_the_classes_say_of_them():
    assert "Attributes:" not in json.dumps(schemas())
    assert SCHEMAS["TokenIssued"]["properties"]["code"]["description"] == "The portal's task."


# -- The AsyncAPI document


def test_the_document_is_asyncapi_3():
    assert ASYNCAPI["asyncapi"] == "3.0.0"
    assert set(ASYNCAPI) == {
        "asyncapi", "info", "defaultContentType", "servers", "channels", "operations", "components"
    }  # fmt: skip
    assert {"title", "version", "license"} <= set(ASYNCAPI["info"])


def test_every_reference_leads_somewhere():
    found = set(references(ASYNCAPI))
    assert found
    for reference in found:
        assert resolve(reference)


def test_every_kind_of_boundary_has_a_channel_in_the_log_and_one_in_the_feed():
    assert set(ASYNCAPI["channels"]) == {name for kind in Kind for name in (kind.value, f"{kind}Feed")}


@pytest.mark.parametrize("name", ASYNCAPI["channels"])
def test_a_channel_is_a_subject_with_its_one_parameter(name: str):
    channel = ASYNCAPI["channels"][name]
    (parameter,) = channel["parameters"]
    boundary = Subjects().parse(channel["address"].replace(f"{{{parameter}}}", "x1"))
    assert boundary.kind == name.removesuffix("Feed")
    assert channel["address"].startswith("feed." if name.endswith("Feed") else "ledger.")
    assert channel["parameters"][parameter]["description"]


@pytest.mark.parametrize("kind", Kind)
def test_a_channel_has_a_message_for_each_of_its_types(kind: Kind):
    names = {cls.__name__ for cls in types_of(kind)}
    assert names
    assert names == {name for name, cls in CATALOGUE.items() if cls.kind is kind}
    for channel in (kind.value, f"{kind}Feed"):
        assert set(ASYNCAPI["channels"][channel]["messages"]) == names


def test_commits_are_appended_to_the_log_read_from_it_and_followed_in_the_feed():
    operations = ASYNCAPI["operations"]
    assert set(operations) == {
        f"{verb}{kind.capitalize()}" for kind in Kind for verb in ("append", "read", "follow")
    }
    for name, operation in operations.items():
        channel = operation["channel"]["$ref"].removeprefix("#/channels/")
        assert operation["action"] == ("send" if name.startswith("append") else "receive")
        assert channel.endswith("Feed") == name.startswith("follow")
        own = {f"#/channels/{channel}/messages/{each}" for each in ASYNCAPI["channels"][channel]["messages"]}
        assert {message["$ref"] for message in operation["messages"]} == own


def test_everything_is_bound_to_nats():
    assert ASYNCAPI["servers"]["embedded"]["protocol"] == "nats"
    messages = ASYNCAPI["components"]["messages"].values()
    for bound in (*ASYNCAPI["channels"].values(), *ASYNCAPI["operations"].values(), *messages):
        assert set(bound["bindings"]) == {"nats"}


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_message_says_what_it_is_and_what_goes_with_it(name: str):
    message = ASYNCAPI["components"]["messages"][name]
    assert message["name"] == name
    assert message["summary"]
    assert re.fullmatch(r"application/cloudevents-batch\+json", message["contentType"])
    guarded = "Nats-Expected-Last-Subject-Sequence" in message.get("headers", {}).get("properties", {})
    assert guarded == (CATALOGUE[name].kind in GUARDED)


@settings(max_examples=20)
@given(batch=st.lists(events(), min_size=1, max_size=3))
def test_commits_fit_the_message_of_each_type_that_they_hold_and_no_other(batch: list[Event]):
    written = json.loads(encode(batch))
    inside = {event.type for event in batch}
    for name in inside | {"NodeReady", "RoomDeleted"}:
        payload = ASYNCAPI["components"]["messages"][name]["payload"]
        assert validator(payload).is_valid(written) == (name in inside)


def test_a_commit_has_1_to_256_events():
    payload = ASYNCAPI["components"]["messages"]["NodeReady"]["payload"]
    assert (payload["minItems"], payload["maxItems"]) == (1, MAX_EVENTS)


def test_other_prefixes_make_other_addresses():
    document = asyncapi(Subjects("east.ledger", "east.feed"))
    assert document["channels"]["room"]["address"] == "east.ledger.room.{room}"
