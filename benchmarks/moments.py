"""How long whoever asks about earlier moments waits: a state over HTTP's way, and a page of an audit.

A log of sessions is made first. Then states at a few moments are asked for, without any that were kept and
with those that the first question left; and pages of audits, of what few events name and of what many do.
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.figures import percentile, report, server
from benchmarks.replay import Lane
from benchmarks.sessions import STEPS, Sessions
from roomledger.domain.trail import Trail
from roomledger.event_store.connection import connect
from roomledger.event_store.jetstream import JetStreamStore
from roomledger.event_store.layout import Layout
from roomledger.processes.management_api.audits import Audits
from roomledger.runtime.checkpoints import Checkpoints
from roomledger.runtime.projector import Projector
from roomledger_events.mentions import Thing
from roomledger_events.tokens import TokenIssued

TOGETHER = 32
MOMENTS = 10
PAGES = 20


async def timed(times: int, work: Callable[[int], Awaitable[object]]) -> list[float]:
    """Return how long something took each time, in seconds."""
    laps = []
    for number in range(times):
        begun = time.perf_counter()
        await work(number)
        laps.append(time.perf_counter() - begun)
    return laps


def row(what: str, laps: list[float]) -> dict[str, Any]:
    """Return a line of the report."""
    return {"what": what, "times": len(laps), "p50 s": percentile(laps, 0.5), "worst s": max(laps)}


async def measure(events: int) -> list[dict[str, Any]]:
    """Return the figures of a log of about so many events."""
    async with server() as (nats, path):
        connection = await connect(nats.url, "service", nats.credentials["service"])
        store = await JetStreamStore.open(connection, Layout(load_ttl_s=24 * 3600))
        sessions = events // len(STEPS) // len(Sessions.PURPOSES)
        await asyncio.gather(*(Lane(store, purpose, TOGETHER).run(sessions) for purpose in Sessions.PURPOSES))
        head = (await store.position()).sequence
        every = max(1, head // 10)
        states = Checkpoints(store, path / "checkpoints", reach=head, every=every)

        async def state(number: int) -> None:
            with await states.state(head * (MOMENTS - number) // MOMENTS) as found:
                found.part(None, newest_tokens=1000)

        rows = [row("a state, the first one", await timed(1, state))]
        rows.append(row("a state, from one that was kept", await timed(MOMENTS, state)))
        projector = Projector(store, path / "projections")
        await projector.start()
        await projector.caught_up(timeout_s=3600)
        audits = Audits(store, projector)
        issued = [
            event.data
            async for commit in store.read(start=head // 2, until=head // 2 + 200)
            for event in commit.events
            if isinstance(event.data, TokenIssued)
        ]

        def page(thing: Thing, name: Callable[[TokenIssued], str]) -> Callable[[int], Awaitable[object]]:
            def ask(number: int) -> Awaitable[object]:
                trail = Trail(thing, name(issued[number % len(issued)]))
                return audits.page([trail], (None, None), after=None, limit=100, service=None)

            return ask

        for thing, name in (
            (Thing.TOKEN, lambda data: data.token),
            (Thing.ROOM, lambda data: data.room),
            (Thing.WORKER, lambda data: data.portal),
            (Thing.ROOM, lambda _: "unknown"),
        ):
            what = "an unknown room" if name(issued[0]) == "unknown" else f"a {thing}"
            rows.append(row(f"a page about {what}", await timed(PAGES, page(thing, name))))
        await projector.stop()
        await connection.close()
        return rows


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--json", action="store_true", help="print a line of JSON")
    arguments = parser.parse_args()
    report("moments", asyncio.run(measure(arguments.events)), as_json=arguments.json)


if __name__ == "__main__":
    main()
