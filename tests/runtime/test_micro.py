from datetime import UTC, datetime

import msgspec

from roomledger.runtime.micro import Endpoint, Identity, subjects, tell

IDENTITY = Identity("greeter", "i1", "1.2.3", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))


def told(verb: str, *endpoints: Endpoint) -> dict[str, object]:
    answer: dict[str, object] = msgspec.json.decode(tell(verb, IDENTITY, endpoints))
    return answer


def test_a_service_is_asked_as_all_as_one_of_its_name_and_as_itself() -> None:
    assert [subject for subject, verb in subjects(IDENTITY) if verb == "INFO"] == [
        "$SRV.INFO",
        "$SRV.INFO.greeter",
        "$SRV.INFO.greeter.i1",
    ]


def test_a_ping_tells_who_it_is() -> None:
    assert told("PING", Endpoint("greet", "rpc.greet")) == {
        "type": "io.nats.micro.v1.ping_response",
        "name": "greeter",
        "id": "i1",
        "version": "1.2.3",
        "metadata": {},
    }


def test_statistics_tell_since_when() -> None:
    assert told("STATS")["started"] == "2026-01-02T03:04:05Z"


def test_a_method_that_was_never_called_took_no_time() -> None:
    assert told("STATS", Endpoint("greet", "rpc.greet"))["endpoints"] == [
        {
            "name": "greet",
            "subject": "rpc.greet",
            "queue_group": "q",
            "num_requests": 0,
            "num_errors": 0,
            "last_error": "",
            "processing_time": 0,
            "average_processing_time": 0,
        }
    ]


def test_the_average_time_is_of_all_requests() -> None:
    endpoint = Endpoint("greet", "rpc.greet", requests=4, nanoseconds=1_000)
    assert told("STATS", endpoint)["endpoints"][0]["average_processing_time"] == 250  # type: ignore[index]  # a list
