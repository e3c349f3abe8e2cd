"""The picture of a plan: an SVG of its stages from left to right, done or to run, with what each is expected to cost.

A stage stands one column right of the last that it reads; the stages of one run of a sweep, or of one language, stand
in a band of their own below what all share. Text stays text, and each box tells the rest when pointed at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import NamedTuple

from ulmfit_dist.cluster.estimate import Estimate
from ulmfit_dist.cluster.plan import Plan, PlannedStage
from ulmfit_dist.stage import LABEL_MARK

_BOX_WIDTH, _BOX_HEIGHT = 220, 36
_COLUMN, _ROW = 280, 46  # from one box to the next
_MARGIN, _HEAD, _BAND_HEAD = 20, 74, 22
_LETTERS = 32  # of 12 px that a box is wide
_STYLE = """
text { font: 12px system-ui, "DejaVu Sans", sans-serif; fill: #1c2733 }
.title { font-size: 16px; font-weight: 600 }
.small { font-size: 10.5px; fill: #51606f }
.band { fill: #f4f6f8 }
.edge { fill: none; stroke: #8796a5; stroke-width: 1; stroke-opacity: .55 }
.done { fill: #dcf1df; stroke: #2e7d32 }
.due { fill: #ffffff; stroke: #2b5fb3 }
.gpu { stroke-width: 2.5 }
"""


class _Place(NamedTuple):
    """The upper left corner of a stage's box."""

    x: float
    y: float


class _Band(NamedTuple):
    """A band across the picture: the label of its runs, its stages by column, its top and its rows."""

    label: str
    columns: dict[int, list[str]]
    top: float
    rows: int

    @property
    def bottom(self) -> float:
        """Where the band ends."""
        return self.top + (_BAND_HEAD if self.label else 0) + self.rows * _ROW


def draw_plan(title: str, plan: Plan, estimates: Mapping[str, Estimate]) -> bytes:
    """Return the plan's picture as a file.

    estimates: of every stage by name; for a stage that is done its seconds are the ones it took.
    """
    bands = list(_bands(plan))
    places = {name: place for band in bands for name, place in _places(band)}
    done = {stage.name for stage in plan.stages.values() if stage.done()}
    width = 2 * _MARGIN + max(place.x for place in places.values()) + _BOX_WIDTH
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{bands[-1].bottom + _MARGIN:g}">',
        f"<style>{_STYLE}</style>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        *_heading(title, plan, estimates, done),
        *(line for band in bands if band.label for line in _band_box(band, width)),
        *_edges(plan, places),
    ]
    for stage in plan.stages.values():
        lines += _box(stage, places[stage.name], estimates[stage.name], done=stage.name in done)
    return "\n".join([*lines, "</svg>", ""]).encode()


def say_amount(number: float) -> str:
    """Return a number in three digits with its unit letter: 1,234,567 -> 1.23 M."""
    for unit, letter in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= unit:
            return f"{number / unit:.3g}{letter}"
    return f"{number:.0f}"


def say_time(seconds: float) -> str:
    """Return seconds in the unit that people would use."""
    for unit, name in ((86_400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:,.1f} {name}"
    return f"{seconds:.0f} s"


def _columns(plan: Plan) -> dict[str, int]:
    """Return each stage's column: right of all that it reads; one that reads no stage right before its first reader."""
    column: dict[str, int] = {}
    readers: dict[str, list[str]] = {name: [] for name in plan.stages}
    for stage in plan.stages.values():
        column[stage.name] = 1 + max((column[name] for name in stage.upstream), default=-1)
        for name in stage.upstream:
            readers[name].append(stage.name)
    for stage in plan.stages.values():
        if not stage.upstream and readers[stage.name]:
            column[stage.name] = min(column[name] for name in readers[stage.name]) - 1
    return column


def _bands(plan: Plan) -> Iterator[_Band]:
    column = _columns(plan)
    cells: dict[str, dict[int, list[str]]] = {"": {}}  # what all share comes first
    for name in plan.stages:
        cells.setdefault(_label(name), {}).setdefault(column[name], []).append(name)
    top = float(_HEAD)
    for label, columns in cells.items():
        if columns:
            _untangle(plan, columns)
            band = _Band(label, columns, top, max(map(len, columns.values())))
            yield band
            top = band.bottom + _MARGIN / 2


def _untangle(plan: Plan, columns: dict[int, list[str]]) -> None:
    """Order each column of a band by the mean height of what its stages read in the band, else as planned."""
    height: dict[str, float] = {}

    def mean(name: str) -> float:
        known = [height[above] for above in plan.stages[name].upstream if above in height]
        return sum(known) / len(known) if known else 0.5

    for _, names in sorted(columns.items()):
        names.sort(key=mean)
        height.update({name: (row + 0.5) / len(names) for row, name in enumerate(names)})


def _places(band: _Band) -> Iterator[tuple[str, _Place]]:
    top = band.top + (_BAND_HEAD if band.label else 0)
    for column, names in band.columns.items():
        for row, name in enumerate(names):
            middle = top + (row + 0.5) * band.rows * _ROW / len(names)
            yield name, _Place(_MARGIN + column * _COLUMN, middle - _BOX_HEIGHT / 2)


def _heading(title: str, plan: Plan, estimates: Mapping[str, Estimate], done: set[str]) -> Iterator[str]:
    left = [stage for stage in plan.stages.values() if stage.name not in done]
    cpu = sum(estimates[stage.name].seconds * stage.spec.cpus for stage in left) / 3600
    gpu = sum(estimates[stage.name].seconds * stage.spec.gpus for stage in left) / 3600
    tokens = sum(estimates[stage.name].tokens for stage in left)
    yield f'<text class="title" x="{_MARGIN}" y="28">{escape(title)}</text>'
    said = f"{len(plan.stages)} stages, {len(done)} done"
    if left:
        hours = f"{cpu:,.2f} CPU-hours" + (f", {gpu:,.3g} GPU-hours" if gpu else "")
        said += f"; to run: {say_amount(tokens)} tokens, {hours} (estimated)"
    yield f'<text x="{_MARGIN}" y="48">{said}</text>'
    for place, (style, name) in enumerate((("done", "done"), ("due", "to run"), ("due gpu", "to run, on a GPU"))):
        x = _MARGIN + 110 * place
        yield f'<rect class="{style}" x="{x}" y="56" width="14" height="10" rx="2"/>'
        yield f'<text class="small" x="{x + 20}" y="65">{name}</text>'


def _band_box(band: _Band, width: float) -> Iterator[str]:
    height = band.bottom - band.top
    yield f'<rect class="band" x="6" y="{band.top:g}" width="{width - 12:g}" height="{height:g}" rx="6"/>'
    yield f'<text x="{_MARGIN}" y="{band.top + 16:g}">{escape(band.label)}</text>'


def _edges(plan: Plan, places: Mapping[str, _Place]) -> Iterator[str]:
    for above, below in _shortest(plan):
        start, end = places[above], places[below]
        x, y, to_x, to_y = start.x + _BOX_WIDTH, start.y + _BOX_HEIGHT / 2, end.x, end.y + _BOX_HEIGHT / 2
        gap = _COLUMN - _BOX_WIDTH
        if _label(above) == _label(below):
            way = f"C{x + gap:g} {y:g} {to_x - gap:g} {to_y:g} {to_x:g} {to_y:g}"
        else:  # down the gap before the target: a hundred curves would cover what is between
            way = f"H{to_x - gap / 2:g} V{to_y:g} H{to_x:g}"
        yield f'<path class="edge" d="M{x:g} {y:g} {way}"/>'


def _shortest(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield (read, reader) but for those that a longer way tells too."""
    bit = {name: 1 << place for place, name in enumerate(plan.stages)}
    before: dict[str, int] = {}  # the bits of all that comes before a stage
    for stage in plan.stages.values():
        indirect = 0
        for name in stage.upstream:
            indirect |= before[name]
        before[stage.name] = indirect
        for name in stage.upstream:
            before[stage.name] |= bit[name]
            if not indirect & bit[name]:
                yield name, stage.name


def _box(stage: PlannedStage, place: _Place, guess: Estimate, *, done: bool) -> Iterator[str]:
    name = stage.name.partition(LABEL_MARK)[0]
    shown = name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…"
    tokens = f"{say_amount(guess.tokens)} tokens" if guess.tokens else ""
    gpu_hours = guess.seconds * stage.spec.gpus / 3600
    time = f"took {say_time(guess.seconds)}" if done else f"~{say_time(guess.seconds)}"
    cost = [tokens, time, f"{gpu_hours:.2g} GPU-h" if gpu_hours else ""]
    style = f"{'done' if done else 'due'}{' gpu' if stage.spec.gpus else ''}"
    needs = f"{stage.spec.cpus:g} CPUs, {stage.spec.gpus:g} GPUs, ~{guess.memory_mb:,.0f} MB"
    yield f"<g><title>{escape(stage.name)}\n{needs}\n{escape(stage.folder.name)}</title>"
    yield (
        f'<rect class="{style}" x="{place.x:g}" y="{place.y:g}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="5"/>'
    )
    yield f'<text x="{place.x + 8:g}" y="{place.y + 15:g}">{escape(shown)}</text>'
    said = ", ".join(part for part in cost if part)
    yield f'<text class="small" x="{place.x + 8:g}" y="{place.y + 29:g}">{said}</text></g>'


def _label(name: str) -> str:
    return name.partition(LABEL_MARK)[2]
