"""An hour of a busy cluster, faster than real time, and what its log says afterwards.

    python -m benchmarks.busy [--json] [--check] [--keep FILE] [--workers N] [--rooms N] [--participants N]

The cluster manager, the management API, conference workers with their nodes, and nats-server are processes of
their own; all other workers and all participants are played by this process, over the wire. The log is
exported to one file. With ``--check`` it is verified, simulated without any change, every decision is
explained, and the states at random moments are compared with what a process knew then that followed the log
live, and with what the manager said of its own; the exit code is 1 if one of them is not as it should be.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

from benchmarks.crowd import Crowd, Sizes, settings
from benchmarks.figures import process, report, server
from benchmarks.tokens import KEY, free_port
from benchmarks.watching import compared, digest_of, read
from roomledger.domain.purpose import PurposeSettings
from roomledger.event_store.connection import connect
from roomledger.event_store.file_log import FileLog
from roomledger.runtime.explaining import Retracing
from roomledger.runtime.nats_server import EmbeddedNats
from roomledger_events.subjects import ANY, Boundary, Kind

CONFERENCES = 2
COMMITS = 4
"""So many commits there are for each participant, at least."""
MOMENTS = 50
"""At so many moments at least the state is looked at."""


async def recorded(sizes: Sizes, file: Path, *, check: bool) -> list[dict[str, Any]]:
    """Run the cluster, export its log to a file, and return the figures."""
    port = free_port()
    async with AsyncExitStack() as stack:
        nats, path = await stack.enter_async_context(server())
        await stack.enter_async_context(
            process(nats, path / "manager", "cluster-manager", ROOMLEDGER_SCHEDULER=settings())
        )
        for number in range(CONFERENCES):
            name = f"conference-{number}"
            variables = {"ROOMLEDGER_WORKER_ID": name, "ROOMLEDGER_MAX_NODES": "2", "ROOMLEDGER_PRERUN": "2"}
            await stack.enter_async_context(process(nats, path / name, "conference", **variables))
        variables = {
            "ROOMLEDGER_API_PORT": str(port),
            "ROOMLEDGER_SERVICE_KEY": KEY,
            "ROOMLEDGER_RATE_LIMIT": "1000000/second",
            "ROOMLEDGER_TOKEN_LIFE_MS": "20000",
        }
        await stack.enter_async_context(process(nats, path / "api", "management-api", **variables))
        broker = await connect(nats.url, "service", nats.credentials["service"])
        crowd = Crowd(broker, port, sizes)
        begin = time.perf_counter()
        async with watched(nats, path / "api", sizes, beside(file)) if check else nullcontext():
            await crowd.come()
            await crowd.live()
            seconds = time.perf_counter() - begin
        await broker.close()
        exported = json.loads(await command(nats, path / "api", "export", str(file), "--json", "--force"))
        rows: list[dict[str, Any]] = [
            {"what": "recorded events", "count": exported["events"], "seconds": round(seconds, 1)},
            *({"what": what, "count": count, "seconds": ""} for what, count in crowd.told.most_common()),
        ]
        if check:
            same = await replayed(nats, path / "api", beside(file))
            rows.append({"what": "live: states replayed otherwise", "count": int(not same), "seconds": ""})
            live = json.loads(await command(nats, path / "api", "verify", "--json"))
            rows.append(
                {"what": "live: findings", "count": live["wrong"], "seconds": round(live["seconds"], 1)}
            )
            rows += [
                {"what": f"live: {what}", "count": count, "seconds": ""}
                for what, count in live["figures"].items()
            ]
            for finding in live["findings"][:20]:
                print(finding, file=sys.stderr)
    return rows


async def checked(file: Path) -> list[dict[str, Any]]:
    """Return what the exported log says: simulated without any change, and every decision explained."""
    begin = time.perf_counter()
    told = json.loads(await command(None, file.parent, "simulate", "--log", str(file), "--json"))
    simulating = time.perf_counter() - begin
    requests = sum(each["requests"] for each in told["purposes"])
    moved = sum(each["moved"] for each in told["purposes"])
    begin = time.perf_counter()
    said = await explained(file)
    explaining = time.perf_counter() - begin
    return [
        {"what": "simulated requests", "count": requests, "seconds": round(simulating, 1)},
        {"what": "winners not reproduced", "count": moved, "seconds": ""},
        {"what": "explained decisions", "count": len(said), "seconds": round(explaining, 1)},
        {"what": "explained refusals", "count": sum(refused for refused, _ in said), "seconds": ""},
        {
            "what": "explanations that do not agree",
            "count": sum(agrees is not True for _, agrees in said),
            "seconds": "",
        },
        *await compared(file, beside(file)),
    ]


def beside(file: Path) -> Path:
    """Return the path of what was seen while a log was made."""
    return file.with_name(f"{file.name}.seen")


@asynccontextmanager
async def watched(nats: EmbeddedNats, data: Path, sizes: Sizes, seen: Path) -> AsyncIterator[None]:
    """Have a process of its own follow the log for the time of a block, and write down what it knows."""
    gap = max(1, sizes.participants * COMMITS // MOMENTS)
    with seen.open("wb") as file:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.watching", str(gap), str(sizes.seed)),
            stdin=asyncio.subprocess.PIPE,
            stdout=file,
            env=environment(nats, data),
        )
        assert child.stdin is not None
        try:
            yield
        finally:
            child.stdin.close()
            if await child.wait():
                message = "who watched the log ended with a failure"
                raise SystemExit(message)


async def replayed(nats: EmbeddedNats, data: Path, seen: Path) -> bool:
    """Have one of the states rebuilt by the command, from the server; return whether it is as it was seen."""
    told = read(seen)
    one = told[len(told) // 2]
    state = json.loads(await command(nats, data, "replay", "--at", str(one.sequence), "--json"))
    return digest_of(state) == one.digest


async def explained(file: Path) -> list[tuple[bool, bool | None]]:
    """Explain every decision of an exported log; return whether each was a refusal, and whether it agrees."""
    log = FileLog.open(file)
    purposes: dict[str, Retracing] = {}
    said = []
    async for commit in log.read((Boundary(Kind.SCHEDULER, ANY), Boundary(Kind.LOAD, ANY))):
        name = commit.boundary.name
        retracing = purposes.get(name)
        if retracing is None:
            retracing = purposes[name] = Retracing(PurposeSettings.default(name), None)
        said += [(each.worker is None, each.agrees) for each in retracing.take_in(commit)]
    log.close()
    return said


def environment(nats: EmbeddedNats | None, data: Path) -> dict[str, str]:
    """Return what a command needs to know that works on this server, or on none."""
    told = {name: value for name, value in os.environ.items() if not name.startswith("ROOMLEDGER_")}
    told["ROOMLEDGER_DATA_DIR"] = str(data)
    if nats is not None:
        told["ROOMLEDGER_NATS_URL"] = nats.url
        told["ROOMLEDGER_NATS_PASSWORD"] = nats.credentials["service"]
    return told


async def command(nats: EmbeddedNats | None, data: Path, *arguments: str) -> str:
    """Run a command and return what it printed; one that finds something wrong is told by what it prints."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "roomledger",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(nats, data),
    )
    out, errors = await child.communicate()
    if not out:
        raise SystemExit(errors.decode())
    return out.decode()


def clean(rows: list[dict[str, Any]]) -> bool:
    """Whether all that was checked is as it should be."""
    wrong = {
        "live: findings",
        "live: states replayed otherwise",
        "winners not reproduced",
        "explanations that do not agree",
        "states that are not what was known",
        "findings with these",
    }
    return not any(row["count"] for row in rows if row["what"] in wrong)


def main() -> None:
    """Run it."""
    sizes = Sizes()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=sizes.workers)
    parser.add_argument("--rooms", type=int, default=sizes.rooms)
    parser.add_argument("--participants", type=int, default=sizes.participants)
    parser.add_argument("--together", type=int, default=sizes.together)
    parser.add_argument("--stay", type=float, default=sizes.stay_s, help="seconds that a participant stays")
    parser.add_argument("--seed", type=int, default=sizes.seed)
    parser.add_argument("--keep", type=Path, help="the file that the log is exported to")
    parser.add_argument("--check", action="store_true", help="verify, simulate and explain all of it")
    parser.add_argument("--json", action="store_true", help="print a line of JSON")
    given = parser.parse_args()
    sizes = Sizes(given.workers, given.rooms, given.participants, given.together, given.stay, given.seed)
    with tempfile.TemporaryDirectory(prefix="roomledger-busy-") as path:
        file = given.keep or Path(path) / "busy.jsonl"
        rows = asyncio.run(recorded(sizes, file, check=given.check))
        if given.check:
            rows += asyncio.run(checked(file))
    report("busy", rows, as_json=given.json)
    if given.check and not clean(rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
