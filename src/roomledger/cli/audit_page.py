"""An audit as a page: one file, without anything from elsewhere, that shows a timeline, a tree and a table.

Whatever users wrote is text in it. The page says by a content security policy that nothing but its own style
and its own script counts, so that even what was overlooked could do nothing.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from itertools import pairwise
from math import log10
from string import Template
from typing import Final

from roomledger.domain.causes import Chain, Command, Effect
from roomledger.runtime.trails import Told
from roomledger_events.envelope import Address, to_json
from roomledger_events.sentences import sentence
from roomledger_projections.projection import moment

LANE: Final = 34
"""How high a lane is, in pixels."""
STEP: Final = 16
"""How far two events are apart at least, in pixels."""
TOP: Final = 44
LABEL: Final = 7
"""How wide a letter of a lane's name is, in pixels."""
TICK: Final = 150
"""How far two times at the top are apart at least, in pixels."""


def page(
    thing: str,
    id: str,  # noqa: A002  - as shown
    events: Sequence[Told],
    causes: Mapping[Address, Address],
    chains: Sequence[Chain],
) -> str:
    """Return the page of an audit.

    Args:
        thing: What it is an audit of.
        id: Its id, or the user's name.
        events: Its events in log order, at least one.
        causes: Where an event stands that another one caused → where that one stands.
        chains: The same events as trees.
    """
    parts = files(__package__)
    style, script = (parts.joinpath(f"audit_page.{kind}").read_text("utf-8") for kind in ("css", "js"))
    lanes = list(dict.fromkeys(str(told.commit.boundary) for told in events))
    begin, end = moment(events[0].event.time), moment(events[-1].event.time)
    return Template(parts.joinpath("audit_page.html").read_text("utf-8")).substitute(
        title=escape(f"{thing} {id}"),
        summary=escape(f"{len(events)} events in {len(lanes)} boundaries of the log, from {begin} to {end}"),
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        drawing=_drawing(events, lanes, causes),
        tree=_tree(chains, {told.address: told for told in events}),
        lanes="".join(f"<option>{escape(lane)}</option>" for lane in lanes),
        rows="\n".join(_row(told, causes.get(told.address)) for told in events),
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _anchor(address: Address) -> str:
    return f"e{address.sequence}-{address.place}"


def _row(told: Told, cause: Address | None) -> str:
    event = told.event
    lane = escape(str(told.commit.boundary))
    if cause is None:
        caused = f"<code>{escape(event.causationid or '')}</code>"
    else:
        caused = f'<a href="#{_anchor(cause)}">{cause}</a>'
    cells = (
        str(told.address),
        escape(moment(event.time) or ""),
        lane,
        escape(event.actor),
        caused,
        f"<b>{escape(event.type)}</b> {escape(sentence(told.commit.boundary, event))}",
        f"<details><summary>data</summary><code>{escape(to_json(event.data))}</code></details>",
    )
    inner = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr id="{_anchor(told.address)}" data-lane="{lane}">{inner}</tr>'


# -- The tree


def _tree(chains: Sequence[Chain], told: Mapping[Address, Told]) -> str:
    branches = []
    for chain in chains:
        name = "token" if chain.is_token else "request"
        inner = "".join(_branch(cause, told) for cause in chain.causes)
        branches.append(f"<li>{name} <code>{escape(chain.correlation)}</code><ul>{inner}</ul></li>")
    return f"<ul>{''.join(branches)}</ul>"


def _branch(cause: Effect | Command, told: Mapping[Address, Told]) -> str:
    if isinstance(cause, Command):
        label = f"command <code>{escape(cause.id)}</code>"
    else:
        where = f'<a href="#{_anchor(cause.address)}">{cause.address}</a>'
        what = escape(sentence(told[cause.address].commit.boundary, cause.event))
        label = f"{where} {what} <code>{escape(cause.event.actor)}</code>"
    inner = "".join(_branch(each, told) for each in cause.effects)
    return f"<li>{label}{f'<ul>{inner}</ul>' if inner else ''}</li>"


# -- The timeline


def _drawing(events: Sequence[Told], lanes: Sequence[str], causes: Mapping[Address, Address]) -> str:
    left = 24 + LABEL * max(map(len, lanes))
    places = _places(events, left)
    heights = {lane: TOP + LANE * number for number, lane in enumerate(lanes)}
    points = {
        told.address: (x, heights[str(told.commit.boundary)]) for told, x in zip(events, places, strict=True)
    }
    width, height = round(places[-1] + 2 * STEP + TICK), TOP + LANE * len(lanes)
    about = f'width="{width}" height="{height}" role="img" aria-label="the events in their lanes"'
    drawn = [f'<svg xmlns="http://www.w3.org/2000/svg" {about}>']
    for lane, y in heights.items():
        drawn.append(f'<line class="lane" x1="{left - 8}" x2="{width}" y1="{y}" y2="{y}"/>')
        drawn.append(f'<text x="8" y="{y + 4}">{escape(lane)}</text>')
    drawn += _ticks(events, places, height)
    for effect, cause in causes.items():
        (x1, y1), (x2, y2) = points[cause], points[effect]
        bend = min(y1, y2) - LANE / 2
        drawn.append(f'<path class="arc" d="M{x1:.1f} {y1}Q{(x1 + x2) / 2:.1f} {bend:.1f} {x2:.1f} {y2}"/>')
    for told in events:
        x, y = points[told.address]
        drawn.append(_mark(told, x, y))
    return "".join([*drawn, "</svg>"])


def _places(events: Sequence[Told], left: float) -> list[float]:
    """Return how far right each event is drawn: longer times between two further, but never by much."""
    places = [left + STEP]
    for before, after in pairwise(events):
        passed_ms = max(0.0, (after.event.time - before.event.time).total_seconds() * 1000)
        places.append(places[-1] + STEP * (1 + log10(1 + passed_ms / 10)))
    return places


def _ticks(events: Sequence[Told], places: Sequence[float], height: int) -> list[str]:
    drawn: list[str] = []
    last = -TICK
    for told, x in zip(events, places, strict=True):
        if x - last >= TICK:
            last = round(x)
            drawn.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="20" y2="{height}"/>')
            drawn.append(f'<text class="tick" x="{x + 3:.1f}" y="16">{told.event.time:%F %T.%f}</text>')
    return drawn


def _mark(told: Told, x: float, y: float) -> str:
    event = told.event
    what = sentence(told.commit.boundary, event)
    tip = f"{told.address} {event.type}\n{what}\n{event.actor}, {moment(event.time)}"
    mark = f'<circle class="{told.commit.boundary.kind}" cx="{x:.1f}" cy="{y}" r="6">'
    return f'<a href="#{_anchor(told.address)}">{mark}<title>{escape(tip)}</title></circle></a>'
