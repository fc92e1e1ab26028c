"""A simulation as a picture: for each worker its loads and placements in both worlds, as SVG."""

from collections.abc import Iterator, Sequence
from html import escape

from roomledger.domain.simulation import Result, WorkerResult

_ROW, _LEFT, _WIDTH, _GAP = 26, 170, 420, 40
_RECORDED, _SIMULATED = "#7a8ba0", "#d9722e"


def plot(results: Sequence[Result]) -> str:
    """Return the SVG: bars for the mean load and the placements, a line for the largest load."""
    height = sum(len(result.workers) * _ROW + 90 for result in results) + 20
    width = _LEFT + 2 * _WIDTH + _GAP + 90
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    top = 20
    for result in results:
        parts += _purpose(result, top)
        top += len(result.workers) * _ROW + 90
    return "\n".join([*parts, "</svg>", ""])


def _purpose(result: Result, top: int) -> Iterator[str]:
    yield _text(
        10,
        top + 8,
        f"{result.purpose}: {result.strategy} as recorded, {result.strategy_simulated} simulated;"
        f" {result.moved} of {result.requests} went elsewhere,"
        f" {result.refused} and {result.refused_simulated} refused",
        size=14,
    )
    second = _LEFT + _WIDTH + _GAP
    yield _text(_LEFT, top + 28, "effective load: mean, and largest as a line")
    yield _text(second, top + 28, "placements")
    yield _bar(second + 110, top + 20, 10, _RECORDED) + _text(second + 125, top + 28, "recorded")
    yield _bar(second + 190, top + 20, 10, _SIMULATED) + _text(second + 205, top + 28, "simulated")
    most = max([1, *(max(each.placed, each.placed_simulated) for each in result.workers)])
    for number, each in enumerate(result.workers):
        y = top + 38 + number * _ROW
        yield _text(_LEFT - 8, y + 14, each.worker[:24], anchor="end")
        yield from _worker(each, y, second, most)


def _worker(each: WorkerResult, y: int, second: int, most: int) -> Iterator[str]:
    worlds = ((each.loads, each.placed, _RECORDED), (each.loads_simulated, each.placed_simulated, _SIMULATED))
    for number, (loads, placed, color) in enumerate(worlds):
        at = y + number * 11
        yield _bar(_LEFT, at, _WIDTH * min(loads.mean or 0, 1), color)
        if loads.largest is not None:
            x = _LEFT + _WIDTH * min(loads.largest, 1)
            line = f'x1="{x:.1f}" y1="{at}" x2="{x:.1f}" y2="{at + 10}"'
            yield f'<line {line} stroke="{color}" stroke-width="2"/>'
        yield _bar(second, at, _WIDTH * placed / most, color)
        yield _text(round(second + _WIDTH * placed / most) + 4, at + 9, f"{placed:,}")


def _bar(x: float, y: float, width: float, color: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="10" fill="{color}"/>'


def _text(x: int, y: int, text: str, *, size: int = 11, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}">{escape(text)}</text>'
