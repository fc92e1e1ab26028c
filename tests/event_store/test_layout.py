from typing import Any

import pytest

from roomledger.event_store.errors import ServerTooOld
from roomledger.event_store.layout import Layout, check_version
from roomledger_events.subjects import Subjects

LAYOUT = Layout(replicas=3)


def test_a_stream_as_it_was_created_does_not_differ() -> None:
    assert LAYOUT.differences(LAYOUT.configuration()) == []


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("subjects", ["ledger.room.*"], "subjects is ledger.room.* and has to be ledger.>"),
        ("republish", None, "republish is absent and has to be src ledger.> dest feed.>"),
        ("storage", "memory", "storage is memory and has to be file"),
        ("retention", "workqueue", "retention is workqueue and has to be limits"),
        ("discard", "old", "discard is old and has to be new"),
        ("deny_delete", None, "deny_delete is absent and has to be on"),
        ("deny_purge", False, "deny_purge is off and has to be on"),
        ("allow_rollup_hdrs", True, "allow_rollup_hdrs is on and has to be off"),
        ("allow_msg_ttl", False, "allow_msg_ttl is off and has to be on"),
        ("max_age", 60, "max_age is 60 and has to be 0"),
        ("max_bytes", -1, "max_bytes is -1 and has to be a limit"),
        ("max_msgs", 10, "max_msgs is 10 and has to be unlimited"),
        ("max_msgs_per_subject", 1, "max_msgs_per_subject is 1 and has to be unlimited"),
        ("max_msg_size", 1000, "max_msg_size is 1000 and has to be unlimited or at least 1048576"),
        ("num_replicas", 1, "num_replicas is 1 and has to be at least 3"),
        ("duplicate_window", 1, "duplicate_window is 1 and has to be at least 120000000000"),
        ("no_ack", True, "no_ack is on and has to be off"),
        ("sealed", True, "sealed is on and has to be off"),
        ("mirror", {"name": "X"}, "mirror is name X and has to be absent"),
        ("sources", [{"name": "X"}], "sources is {'name': 'X'} and has to be absent"),
        ("persist_mode", "async", "persist_mode is async and has to be absent"),
    ],
)
def test_what_matters_is_told_in_a_sentence(field: str, value: object, sentence: str) -> None:
    found: dict[str, Any] = LAYOUT.configuration() | {field: value}
    assert LAYOUT.differences(found) == [sentence]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_bytes", 1024**4),
        ("num_replicas", 5),
        ("compression", "none"),
        ("max_msg_size", 8 * 1024 * 1024),
        ("duplicate_window", 3600 * 10**9),
        ("metadata", {"_nats.ver": "2.15.1"}),
        ("allow_atomic", True),
    ],
)
def test_what_an_operator_may_change_does_not_matter(field: str, value: object) -> None:
    found: dict[str, Any] = LAYOUT.configuration() | {field: value}
    assert LAYOUT.differences(found) == []


def test_fields_that_a_server_leaves_out_are_off() -> None:
    found = {field: value for field, value in LAYOUT.configuration().items() if value not in (False, 0)}
    assert LAYOUT.differences(found) == []


def test_another_cluster_has_subjects_of_its_own() -> None:
    configuration = Layout(name="TWO", subjects=Subjects("two", "two_feed")).configuration()
    assert configuration["subjects"] == ["two.>"]
    assert configuration["republish"] == {"src": "two.>", "dest": "two_feed.>"}


@pytest.mark.parametrize("version", ["2.12.0", "2.12.0-RC.2", "2.15.1", "3.0.0"])
def test_a_server_that_is_new_enough_is_taken(version: str) -> None:
    check_version(version, 2)


@pytest.mark.parametrize("version", ["2.11.9", "2.9.0", "1.4.1", "0.0.0", "unknown", ""])
def test_a_server_that_is_too_old_is_not_taken(version: str) -> None:
    with pytest.raises(ServerTooOld) as caught:
        check_version(version, 2)
    assert (caught.value.version, caught.value.needed) == (version, "2.12")


def test_a_server_with_an_older_interface_is_not_taken() -> None:
    with pytest.raises(ServerTooOld):
        check_version("2.12.0", 1)
