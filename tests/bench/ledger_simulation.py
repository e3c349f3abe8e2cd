"""A simulated cluster for the ledger: the real decisions, stages that only take time."""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass
from pathlib import Path

from ulmfit_dist.cluster.ledger import Capacity, Ledger
from ulmfit_dist.cluster.plan import Output, Plan, PlannedStage, StageSpec
from ulmfit_dist.config import Settings

# Measured (BENCHMARKS.md): ingest and tokenization a core, training on one H100 at 512 lanes.
INGEST_CHARACTERS_S = 5e6
TOKENIZED_TOKENS_S = 2.0e6
TRAINED_TOKENS_S = 1.38e6
CHARACTERS_A_TOKEN = 4.5
EPOCHS = 10
TRAINER_START_S = 40.0
# Ranks side by side do not give quite as many times the speed (assumed: NVLink, gradients of 44 M weights).
EFFICIENCY = {1: 1.0, 2: 0.95, 4: 0.9}


@dataclass(frozen=True)
class Point:
    """The cluster at one moment: GPUs at work, and whether a stage was waiting for one."""

    moment: float
    busy: float
    waiting: bool


def many_languages(num_languages: int, seed: int = 1) -> tuple[Plan, dict[str, float]]:
    """Return a plan of languages x four members, the text between 20 M and 2 G tokens, and each stage's seconds."""
    generator = random.Random(seed)
    stages: list[PlannedStage] = []
    seconds: dict[str, float] = {}

    def add(name: str, upstream: list[str], took: float, room: Capacity) -> str:
        inputs = {u: Output(u) for u in upstream}
        spec = StageSpec(name, name.split("-", 1)[0], Settings(), inputs, room.cpus, room.gpus)
        stages.append(PlannedStage(spec, name, Path(name), {}, tuple(upstream), {}))
        seconds[name] = took
        return name

    for index in range(num_languages):
        tokens = 10 ** generator.uniform(math.log10(2e7), math.log10(2e9))
        cores = 8
        read = add(
            f"ingest-{index}",
            [],
            tokens * CHARACTERS_A_TOKEN / INGEST_CHARACTERS_S / cores,
            Capacity(cores, 0),
        )
        for unit in ("word", "subword"):
            learned = add(f"learn-{unit}-{index}", [read], 60 + tokens / 4e6 / cores, Capacity(cores, 0))
            cut = add(f"tokenize-{unit}-{index}", [learned], tokens / TOKENIZED_TOKENS_S / cores, Capacity(cores, 0))
            for direction in ("forward", "backward"):
                ranks = 4 if tokens > 1e9 else 2 if tokens > 3e8 else 1
                took = TRAINER_START_S + EPOCHS * tokens / (TRAINED_TOKENS_S * ranks * EFFICIENCY[ranks])
                add(f"pretrain-{unit}-{direction}-{index}", [cut], took, Capacity(2 * ranks, ranks))
    return Plan(stages), seconds


def simulate(plan: Plan, expected: dict[str, float], total: Capacity, spread: float) -> list[Point]:
    """Run the plan; what a stage takes differs from what is expected by a factor exp(N(0, spread))."""
    generator = random.Random(2)
    real = {name: took * math.exp(generator.gauss(0, spread)) for name, took in expected.items()}
    ledger = Ledger(plan, expected, total)
    ends: list[tuple[float, str]] = []
    now, points = 0.0, []
    while True:
        for stage in ledger.choose(now):
            ledger.started(stage.name, now)
            heapq.heappush(ends, (now + real[stage.name], stage.name))
        running = {name for _, name in ends} | ledger.finished
        waiting = any(
            stage.spec.gpus and name not in running and ledger.finished.issuperset(stage.upstream)
            for name, stage in plan.stages.items()
        )
        points.append(Point(now, total.gpus - ledger.free().gpus, waiting))
        if not ends:
            assert len(ledger.finished) == len(plan.stages), "the ledger forgot a stage"
            return points
        now, name = heapq.heappop(ends)
        ledger.done(name)


def idle_share(points: list[Point], gpus: float) -> float:
    """Return the share of GPU seconds without work, from the first training until none waits for a GPU any more."""
    first = next(index for index, point in enumerate(points) if point.busy)
    last = max(index for index, point in enumerate(points) if point.waiting) + 1
    spans = list(zip(points[first:last], points[first + 1 : last + 1], strict=True))
    whole = gpus * (spans[-1][1].moment - spans[0][0].moment)
    return 1 - sum(here.busy * (there.moment - here.moment) for here, there in spans) / whole
