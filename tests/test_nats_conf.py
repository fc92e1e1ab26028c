"""What the users of nats.conf can do, and what they cannot, each tried on a real server."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nats.micro
import nats.micro.request
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import NoRespondersError
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig

from roomledger.event_store.layout import Layout
from roomledger.runtime.nats_binary import find_nats_conf
from roomledger.runtime.nats_conf import Names
from roomledger_events.subjects import Subjects
from tests.support.nats import NatsServer, until
from tests.support.serving import run, serving

LOG = "ROOMLEDGER"
OTHER = Names("EAST", "east", "told")
KEYS = "KV_keys"


@pytest.fixture
async def admin(nats_server: NatsServer) -> Client:
    return await nats_server.connect("admin")


@pytest.fixture
async def service(nats_server: NatsServer) -> Client:
    """Connect as the service, which has made the log with one event in it."""
    client = await nats_server.connect("service")
    await ask(client, f"$JS.API.STREAM.CREATE.{LOG}", Layout().configuration())
    await client.jetstream().publish("ledger.room.r1", b"[1]")
    return client


@pytest.fixture
async def audit(nats_server: NatsServer, service: Client) -> Client:
    """Connect as the auditor, where there is a log and a bucket with a key."""
    bucket = await service.jetstream().create_key_value(bucket="keys")
    await bucket.put("token", b"secret")
    return await nats_server.connect("audit")


async def ask(client: Client, subject: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = json.loads((await client.request(subject, json.dumps(body).encode(), timeout=5)).data)
    assert "error" not in answer, answer
    return dict(answer)


async def state(admin: Client) -> tuple[Any, Any]:
    """Return what there is to be changed of the log: its configuration and what it holds."""
    info = await ask(admin, f"$JS.API.STREAM.INFO.{LOG}", {})
    return info["config"], {name: info["state"][name] for name in ("messages", "first_seq", "last_seq")}


async def refused(server: NatsServer, subject: str) -> None:
    """Wait until the server has said that a subject is not allowed."""
    await until(lambda: any(f'"{subject.lower()}"' in refusal for refusal in server.refusals))


# The service


async def test_an_event_that_the_service_appends_is_republished_to_it(service: Client) -> None:
    feed = await service.subscribe("feed.>")
    await service.flush()
    await service.jetstream().publish("ledger.room.r1", b"[2]")
    live = await feed.next_msg(timeout=5)
    assert (live.subject, live.data, (live.headers or {})["Nats-Sequence"]) == ("feed.room.r1", b"[2]", "2")


async def test_the_service_reads_the_log_in_every_way(service: Client) -> None:
    assert await readings(service) == {
        "leader": b"[1]",
        "replica": b"[1]",
        "pulled": b"[1]",
        "pushed": b"[1]",
    }


async def test_the_service_keeps_values_that_expire(service: Client) -> None:
    bucket = await service.jetstream().create_key_value(bucket="leases")
    await bucket.create("manager", b"m1", msg_ttl=1.0)
    await bucket.put("key", b"k1")

    async def one_left() -> bool:
        return (await bucket.status()).values == 1

    await until(one_left)
    assert (await bucket.get("key")).value == b"k1"
    await bucket.delete("key")
    await bucket.purge("key")


async def test_the_service_watches_values(service: Client) -> None:
    bucket = await service.jetstream().create_key_value(bucket="leases")
    watcher: Any = await bucket.watchall()
    assert await watcher.updates() is None
    await bucket.put("manager", b"m1")
    assert (await watcher.updates()).value == b"m1"
    await watcher.stop()


async def test_the_service_replaces_snapshots_and_reads_them(service: Client) -> None:
    bucket = await service.jetstream().create_object_store(bucket="ROOMLEDGER_SNAPSHOTS")
    await bucket.put("scheduler", b"old" * 100_000)
    await bucket.put("scheduler", b"new")
    assert (await bucket.get("scheduler")).data == b"new"


async def test_the_service_asks_and_answers_requests_and_is_discovered(service: Client) -> None:
    async def answer(request: nats.micro.request.Request) -> None:
        await request.respond(request.data.upper())

    cluster = await nats.micro.add_service(service, name="cluster-manager", version="1.0.0")
    await cluster.add_endpoint(name="join", subject="rpc.cluster.join", handler=answer)
    assert (await service.request("rpc.cluster.join", b"portal")).data == b"PORTAL"
    assert json.loads((await service.request("$SRV.PING")).data)["name"] == "cluster-manager"


DESTRUCTIVE: dict[str, Any] = {
    f"$JS.API.STREAM.UPDATE.{LOG}": Layout().configuration() | {"max_age": 10**9},
    f"$JS.API.STREAM.DELETE.{LOG}": None,
    f"$JS.API.STREAM.PURGE.{LOG}": None,
    f"$JS.API.STREAM.MSG.DELETE.{LOG}": {"seq": 1, "no_erase": True},
    f"$JS.API.STREAM.SNAPSHOT.{LOG}": {"deliver_subject": "_INBOX.snapshot"},
    f"$JS.API.STREAM.RESTORE.{LOG}": {"config": Layout().configuration(), "state": {}},
    f"$JS.API.STREAM.LEADER.STEPDOWN.{LOG}": None,
    f"$JS.API.STREAM.PEER.REMOVE.{LOG}": {"peer": "any"},
}


@pytest.mark.parametrize("subject", DESTRUCTIVE)
async def test_the_service_cannot_harm_the_log(
    nats_server: NatsServer, service: Client, admin: Client, subject: str
) -> None:
    before = await state(admin)
    body = DESTRUCTIVE[subject]
    await service.publish(subject, b"" if body is None else json.dumps(body).encode(), reply="_INBOX.answer")
    await refused(nats_server, subject)
    assert await state(admin) == before


async def test_the_service_cannot_seal_the_log_by_creating_it_again(service: Client, admin: Client) -> None:
    before = await state(admin)
    sealed = Layout().configuration() | {"sealed": True}
    answer = await service.request(f"$JS.API.STREAM.CREATE.{LOG}", json.dumps(sealed).encode())
    assert "error" in json.loads(answer.data)
    assert await state(admin) == before


async def test_the_service_cannot_roll_the_log_up(service: Client, admin: Client) -> None:
    before = await state(admin)
    answer = await service.request("ledger.room.r1", b"[2]", headers={"Nats-Rollup": "all"})
    assert "error" in json.loads(answer.data)
    assert await state(admin) == before


async def test_the_service_cannot_publish_as_if_the_log_had_stored_it(
    nats_server: NatsServer, service: Client
) -> None:
    await service.publish("feed.room.r1", b"[1]")
    await refused(nats_server, "feed.room.r1")


async def test_the_service_cannot_see_appends_that_are_not_stored_yet(
    nats_server: NatsServer, service: Client
) -> None:
    await service.subscribe("ledger.>")
    await refused(nats_server, "ledger.>")


async def test_the_service_cannot_empty_the_buckets_of_keys(
    nats_server: NatsServer, service: Client, admin: Client
) -> None:
    bucket = await service.jetstream().create_key_value(bucket="keys")
    await bucket.put("token", b"secret")
    for verb in ("PURGE", "DELETE", "UPDATE"):
        await service.publish(f"$JS.API.STREAM.{verb}.{KEYS}", b"")
        await refused(nats_server, f"$JS.API.STREAM.{verb}.{KEYS}")
    assert (await (await admin.jetstream().key_value("keys")).get("token")).value == b"secret"


# The auditor


async def test_the_auditor_reads_the_log_in_every_way(audit: Client) -> None:
    assert await readings(audit) == {"leader": b"[1]", "replica": b"[1]", "pulled": b"[1]", "pushed": b"[1]"}


async def test_the_auditor_reads_a_batch_of_the_log(service: Client, audit: Client) -> None:
    for number in range(2, 101):
        await service.jetstream().publish("ledger.room.r1", b"[%d]" % number)
    answers = await audit.subscribe(inbox := audit.new_inbox())
    query = {"seq": 1, "batch": 1000, "next_by_subj": "ledger.>"}
    await audit.publish(f"$JS.API.DIRECT.GET.{LOG}", json.dumps(query).encode(), reply=inbox)
    batch = [await answers.next_msg(timeout=5) for _ in range(101)]
    assert [message.data for message in batch] == [b"[%d]" % number for number in range(1, 101)] + [b""]


async def test_the_auditor_sees_what_is_stored(service: Client, audit: Client) -> None:
    feed = await audit.subscribe("feed.>")
    await audit.flush()
    await service.jetstream().publish("ledger.room.r1", b"[2]")
    assert (await feed.next_msg(timeout=5)).data == b"[2]"


async def test_the_auditor_discovers_services(service: Client, audit: Client) -> None:
    await nats.micro.add_service(service, name="cluster-manager", version="1.0.0")
    await service.flush()
    assert json.loads((await audit.request("$SRV.INFO")).data)["name"] == "cluster-manager"


async def test_the_auditor_cannot_append(nats_server: NatsServer, audit: Client, admin: Client) -> None:
    before = await state(admin)
    await audit.publish("ledger.room.r1", b"[2]")
    await refused(nats_server, "ledger.room.r1")
    assert await state(admin) == before


@pytest.mark.parametrize(
    ("request_subject", "body"),
    [
        (f"$JS.API.STREAM.INFO.{LOG}", {}),
        (f"$JS.API.STREAM.MSG.GET.{LOG}", {"seq": 1}),
        (f"$JS.API.DIRECT.GET.{LOG}", {"seq": 1}),
        (f"$JS.API.CONSUMER.MSG.NEXT.{LOG}.reader", {"batch": 1, "no_wait": True}),
        ("$SRV.PING", {}),
    ],
)
@pytest.mark.parametrize("target", ["ledger.room.r2", "feed.room.r2", "$KV.keys.token", "rpc.cluster.join"])
async def test_the_auditor_cannot_have_an_answer_sent_where_it_may_not_publish(
    service: Client, audit: Client, admin: Client, request_subject: str, body: dict[str, Any], target: str
) -> None:
    await audit.jetstream().add_consumer(LOG, ConsumerConfig(name="reader", inactive_threshold=60))
    await nats.micro.add_service(service, name="cluster-manager", version="1.0.0")
    overheard = await admin.subscribe(target)
    await service.flush()
    await admin.flush()
    before = await state(admin)
    answers = await audit.subscribe(inbox := audit.new_inbox())
    # By the time that the second request is answered, so is the first.
    for reply in (target, inbox):
        await audit.publish(request_subject, json.dumps(body).encode(), reply=reply)
    await answers.next_msg(timeout=5)
    assert (await state(admin), overheard.pending_msgs) == (before, 0)


async def test_the_auditor_cannot_have_a_consumer_append(audit: Client, admin: Client) -> None:
    before = await state(admin)
    config = {"deliver_subject": "ledger.room.r2", "ack_policy": "none"}
    answer = await audit.request(
        f"$JS.API.CONSUMER.CREATE.{LOG}", json.dumps({"stream_name": LOG, "config": config}).encode()
    )
    assert "cycle" in json.loads(answer.data)["error"]["description"]
    assert await state(admin) == before


@pytest.mark.parametrize(
    "subject",
    [
        *DESTRUCTIVE,
        f"$JS.API.STREAM.CREATE.{KEYS}",
        f"$JS.API.STREAM.INFO.{KEYS}",
        f"$JS.API.STREAM.MSG.GET.{KEYS}",
        f"$JS.API.DIRECT.GET.{KEYS}.$KV.keys.token",
        f"$JS.API.CONSUMER.CREATE.{KEYS}",
        f"$JS.API.CONSUMER.DELETE.{LOG}.any",
        f"$JS.API.CONSUMER.NAMES.{LOG}",
    ],
)
async def test_nobody_answers_the_auditor_about_anything_but_reading_the_log(
    audit: Client, admin: Client, subject: str
) -> None:
    before = await state(admin)
    body = json.dumps(DESTRUCTIVE.get(subject)).encode() if DESTRUCTIVE.get(subject) else b""
    with pytest.raises(NoRespondersError):
        await audit.request(subject, body)
    assert await state(admin) == before


@pytest.mark.parametrize("subject", ["$KV.>", "ledger.>", "rpc.>", "_INBOX.>", "$JS.>", ">"])
async def test_the_auditor_cannot_listen_to_what_is_not_for_it(
    nats_server: NatsServer, audit: Client, subject: str
) -> None:
    await audit.subscribe(subject)
    await refused(nats_server, subject)


@pytest.mark.parametrize("subject", ["$KV.keys.token", "rpc.cluster.join", "feed.room.r1", "_INBOX.any"])
async def test_the_auditor_cannot_publish(nats_server: NatsServer, audit: Client, subject: str) -> None:
    await audit.publish(subject, b"x")
    await refused(nats_server, subject)


async def test_the_auditor_sees_no_answers_to_others(service: Client, audit: Client) -> None:
    overheard: list[Msg] = []

    async def note(message: Msg) -> None:
        overheard.append(message)

    async def answer(request: Msg) -> None:
        await request.respond(request.data)

    await audit.subscribe("_INBOX_audit.>", cb=note)
    await service.subscribe("rpc.echo", cb=answer)
    await audit.flush()
    assert (await service.request("rpc.echo", b"secret")).data == b"secret"
    await audit.flush()
    assert overheard == []


# The administrator, and who is none of them


async def test_the_administrator_can_change_and_delete_the_log(service: Client, admin: Client) -> None:
    await ask(admin, f"$JS.API.STREAM.UPDATE.{LOG}", Layout(max_bytes=2**31).configuration())
    await ask(admin, f"$JS.API.STREAM.CREATE.{KEYS}", {"name": KEYS, "subjects": ["$KV.keys.>"]})
    assert (await admin.request(f"$JS.API.STREAM.DELETE.{LOG}")).data
    assert await names(service.jetstream()) == [KEYS]


@pytest.mark.parametrize("credentials", [{}, {"user": "service", "pass": "wrong"}, {"user": "", "pass": ""}])
async def test_nobody_connects_without_a_password(
    nats_server: NatsServer, credentials: dict[str, str]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(nats_server.url.rpartition(":")[2]))
    writer.write(b"CONNECT %s\r\nPING\r\n" % json.dumps({"verbose": False} | credentials).encode())
    info, answer = await reader.readline(), await reader.readline()
    writer.close()
    await writer.wait_closed()
    assert (info[:5], answer) == (b"INFO ", b"-ERR 'Authorization Violation'\r\n")


async def test_what_was_acknowledged_is_there_after_the_server_was_killed(
    nats_server: NatsServer, service: Client
) -> None:
    await service.jetstream().publish("ledger.room.r1", b"[2]")
    await nats_server.kill()
    await nats_server.start()
    assert (await service.jetstream().get_msg(LOG, 2)).data == b"[2]"


def test_an_acknowledgement_waits_for_the_disk() -> None:
    assert "sync_interval: always" in find_nats_conf().read_text()


async def names(js: JetStreamContext) -> list[str | None]:
    return [stream.config.name for stream in await js.streams_info()]


async def readings(client: Client) -> dict[str, bytes | None]:
    """Read the first message of the log in every way there is."""
    js = client.jetstream()
    pull = await js.pull_subscribe("ledger.>", stream=LOG)
    push: Subscription = await js.subscribe("ledger.>", stream=LOG, ordered_consumer=True)
    return {
        "leader": (await js.get_msg(LOG, 1)).data,
        "replica": (await js.get_msg(LOG, 1, direct=True)).data,
        "pulled": (await pull.fetch(1, timeout=5))[0].data,
        "pushed": (await push.next_msg(timeout=5)).data,
    }


# A cluster with other names


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """Start a server for a cluster that calls everything otherwise."""
    server = NatsServer(tmp_path / "other", OTHER)
    await server.start()
    client = await server.connect("service")
    layout = Layout(name=OTHER.log, subjects=Subjects(OTHER.ledger, OTHER.feed))
    await ask(client, f"$JS.API.STREAM.CREATE.{OTHER.log}", layout.configuration())
    await client.jetstream().publish("east.room.r1", b"[1]")
    yield server
    await server.close()


async def test_a_cluster_with_other_names_keeps_no_chunk_of_a_replaced_snapshot(other: NatsServer) -> None:
    client = await other.connect("service")
    bucket = await client.jetstream().create_object_store(bucket="EAST_SNAPSHOTS")
    await bucket.put("scheduler", b"old" * 100_000)
    await bucket.put("scheduler", b"new")
    assert (await bucket.get("scheduler")).data == b"new"
    info = await ask(client, "$JS.API.STREAM.INFO.OBJ_EAST_SNAPSHOTS", {"subjects_filter": "$O.*.C.>"})
    assert len(info["state"]["subjects"]) == 1


async def test_its_service_cannot_purge_its_log_nor_write_to_another_one(other: NatsServer) -> None:
    client = await other.connect("service")
    for subject in (f"$JS.API.STREAM.PURGE.{OTHER.log}", "ledger.room.r1"):
        await client.publish(subject, b"")
        await refused(other, subject)


async def test_its_auditor_reads_its_log_and_nothing_else(other: NatsServer) -> None:
    client = await other.connect("audit")
    told = json.loads((await client.request(f"$JS.API.STREAM.MSG.GET.{OTHER.log}", b'{"seq": 1}')).data)
    assert told["message"]["subject"] == "east.room.r1"
    await client.publish("east.room.r1", b"[2]")
    await refused(other, "east.room.r1")


async def test_serve_keeps_the_log_of_a_cluster_with_other_names(tmp_path: Path) -> None:
    names = {"ROOMLEDGER_CLUSTER": "east", "ROOMLEDGER_LEDGER": "east", "ROOMLEDGER_FEED": "told"}
    async with serving(tmp_path, **names):
        code, token, errors = await run(tmp_path, "token", "--user", "ada", **names)
        assert code == 0, errors
        code, _, errors = await run(tmp_path, "join", "-", "--for", "0.1", stdin=token, **names)
        assert code == 0, errors
    async with serving(tmp_path, **names):
        code, out, errors = await run(tmp_path, "verify", **names)
        assert code == 0, out + errors
        assert "there is no snapshot" not in out
