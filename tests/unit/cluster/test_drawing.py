"""The picture of a plan, read back as XML: every stage once, in order, nothing over anything else."""

from __future__ import annotations

import time
from itertools import combinations
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

import pytest

from ulmfit_dist.cluster.drawing import draw_plan, say_amount, say_time
from ulmfit_dist.cluster.estimate import Estimate
from ulmfit_dist.cluster.plan import Output, Plan, SourceDigests, StageSpec, make_plan
from ulmfit_dist.config import Settings
from ulmfit_dist.files import write_json
from ulmfit_dist.stage import StageKind

KINDS = {"nap": StageKind("nap", 1, lambda _: {})}
SVG = "{http://www.w3.org/2000/svg}"
GUESS = Estimate(1_230_000, 150, 512)
# `late` reads no stage; c reads a and b, and b reads a.
SMALL = {"a": [], "b": ["a"], "c": ["a", "b"], "late": [], "d": ["c", "late"]}


class Nap(Settings):
    name: str


class Box(NamedTuple):
    style: str
    x: float
    y: float
    width: float
    height: float


def _plan(folder: Path, stages: dict[str, list[str]], gpus: tuple[str, ...] = ()) -> Plan:
    specs = [
        StageSpec(name, "nap", Nap(name=name), {u: Output(u) for u in upstream}, gpus=float(name in gpus))
        for name, upstream in stages.items()
    ]
    return make_plan(specs, KINDS, folder, SourceDigests(None))


def _draw(plan: Plan, guess: Estimate = GUESS) -> ET.Element:
    return ET.fromstring(draw_plan("a < b", plan, dict.fromkeys(plan.stages, guess)))


def _boxes(svg: ET.Element) -> dict[str, Box]:
    found = {}
    for group in svg.iter(f"{SVG}g"):
        rect = group.find(f"{SVG}rect")
        assert rect is not None
        sizes = (float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
        found[str(group.findtext(f"{SVG}title")).partition("\n")[0]] = Box(rect.attrib["class"], *sizes)
    return found


def _edges(svg: ET.Element) -> set[tuple[str, str]]:
    """The edges by the names of the boxes at whose sides they begin and end."""
    boxes, edges = _boxes(svg), set()
    left = {(box.x, box.y + box.height / 2): name for name, box in boxes.items()}
    right = {(box.x + box.width, box.y + box.height / 2): name for name, box in boxes.items()}
    for path in svg.iter(f"{SVG}path"):
        words = path.attrib["d"].replace("M", "").replace("C", "").replace("H", "H ").replace("V", "V ").split()
        start = (float(words[0]), float(words[1]))
        end = (float(words[-1]), float(words[-3])) if "H" in words else (float(words[-2]), float(words[-1]))
        edges.add((right[start], left[end]))
    return edges


def test_every_stage_is_right_of_what_it_reads_and_over_no_other(tmp_path: Path) -> None:
    runs = {f"train@seed={seed}": ["b"] for seed in range(3)}
    tests = {f"test@seed={seed}": [f"train@seed={seed}", "a"] for seed in range(3)}
    plan = _plan(tmp_path, {**SMALL, **runs, **tests, "compare": list(tests)})
    svg = _draw(plan)
    boxes = _boxes(svg)
    assert set(boxes) == set(plan.stages)
    for stage in plan.stages.values():
        assert all(boxes[name].x + boxes[name].width < boxes[stage.name].x for name in stage.upstream)
    for one, other in combinations(boxes.values(), 2):
        apart = abs(one.x - other.x) >= one.width or abs(one.y - other.y) >= one.height
        assert apart, (one, other)
    width, height = float(svg.attrib["width"]), float(svg.attrib["height"])
    assert all(box.x + box.width < width and box.y + box.height < height for box in boxes.values())


def test_an_edge_that_a_longer_way_tells_is_left_out(tmp_path: Path) -> None:
    assert _edges(_draw(_plan(tmp_path, SMALL))) == {("a", "b"), ("b", "c"), ("c", "d"), ("late", "d")}
    runs = {"a": [], "b@x": ["a"], "c@x": ["a", "b@x"], "b@y": ["a"]}
    assert _edges(_draw(_plan(tmp_path, runs))) == {("a", "b@x"), ("b@x", "c@x"), ("a", "b@y")}


def test_a_source_stands_right_before_its_first_reader(tmp_path: Path) -> None:
    boxes = _boxes(_draw(_plan(tmp_path, SMALL)))
    assert boxes["late"].x == boxes["c"].x > boxes["a"].x


def test_runs_have_bands_of_their_own_below_what_they_share(tmp_path: Path) -> None:
    stages = {"a": [], "b@x<1": ["a"], "b@y": ["a"], "c@x<1": ["b@x<1"]}
    svg = _draw(_plan(tmp_path, stages))
    boxes = _boxes(svg)
    assert boxes["a"].y < boxes["b@x<1"].y == boxes["c@x<1"].y < boxes["b@y"].y
    texts = [text.text for text in svg.iter(f"{SVG}text")]
    assert {"x<1", "y", "a < b"} <= set(texts)
    assert texts.count("b") == 2


def test_done_due_and_gpu_stages_look_different_and_are_counted(tmp_path: Path) -> None:
    plan = _plan(tmp_path, SMALL, gpus=("c", "d"))
    for name in ("a", "c"):
        stage = plan.stages[name]
        write_json(stage.folder / "stage.json", {"fingerprint": stage.fingerprint, "seconds": 1})
    svg = _draw(plan, Estimate(1_230_000, 7200, 512))
    styles = {name: box.style for name, box in _boxes(svg).items()}
    assert styles == {"a": "done", "b": "due", "c": "done gpu", "late": "due", "d": "due gpu"}
    texts = "\n".join(text.text or "" for text in svg.iter(f"{SVG}text"))
    assert "5 stages, 2 done; to run: 3.69 M tokens, 6.00 CPU-hours, 2 GPU-hours (estimated)" in texts
    assert "1.23 M tokens, ~2.0 h, 2 GPU-h" in texts
    assert "1.23 M tokens, took 2.0 h" in texts


def test_a_thousand_stages_are_drawn_in_a_second(tmp_path: Path) -> None:
    stages = {"a": []} | {f"{kind}@{run}": ["a"] for run in range(250) for kind in ("p", "q", "r", "s")}
    plan = _plan(tmp_path, stages)
    began = time.process_time()
    assert len(_boxes(_draw(plan))) == 1001
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0"), (999, "999"), (1_000, "1 k"), (2_345_678, "2.35 M"), (1.5e12, "1.5 T")]
)
def test_amounts(number: float, said: str) -> None:
    assert say_amount(number) == said


@pytest.mark.parametrize(("seconds", "said"), [(4.4, "4 s"), (119, "119 s"), (150, "2.5 min"), (2e5, "2.3 d")])
def test_times(seconds: float, said: str) -> None:
    assert say_time(seconds) == said
