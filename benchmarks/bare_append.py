"""What one append costs that nothing was decided for: the floor under every call that leads to an event."""

import asyncio
import time
from datetime import UTC, datetime

import msgspec

from benchmarks.figures import percentile
from roomledger.event_store.connection import Connection
from roomledger.event_store.line import Line
from roomledger_events.envelope import Event, encode
from roomledger_events.identifiers import new_id
from roomledger_events.tasks import TaskPickedUp


async def bare_append(connection: Connection, *, subject: bytes, times: int = 300) -> dict[str, float]:
    """Return the milliseconds that an append takes: one after another, each with its expectation, fsynced.

    Args:
        connection: Beside which a line is opened.
        subject: Of a boundary in which nothing has happened.
        times: How many appends to make.
    """
    about = "x" * 64
    data = TaskPickedUp(task=about, worker=about, reserved_for=about)
    made = Event.of(
        data,
        about=about,
        id=new_id(),
        source="benchmark",
        time=datetime.now(UTC),
        correlation=about,
        actor="b",
    )
    body = encode([made])
    answers: asyncio.Queue[bytes] = asyncio.Queue()
    line = Line(lambda _subject, _reply, _header, body: answers.put_nowait(body), print, lambda _: None)
    await line.open(connection, name="benchmark", within_s=5)
    line.subscribe(1, b"_INBOX.floor.*")
    await line.flush()
    seconds: list[float] = []
    expected = 0
    for _ in range(times):
        header = b"NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: %d\r\n\r\n" % expected
        began = time.perf_counter()
        line.request_with_header(subject, b"_INBOX.floor.1", header, body)
        expected = msgspec.json.decode(await answers.get())["seq"]
        seconds.append(time.perf_counter() - began)
    line.close()
    return {
        "bare p50": percentile(seconds, 0.5) * 1000,
        "bare p99": percentile(seconds, 0.99) * 1000,
    }
