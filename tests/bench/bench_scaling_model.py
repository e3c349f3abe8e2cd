"""What a step costs on more GPUs than were measured: the parts that were, put together; docs/scaling.md and its plot.

    python tests/bench/bench_scaling_model.py [dollars a GPU hour]

A step is its computing (a line in the lanes of a GPU, through the runs on one GPU), the sum of gradients, which nothing
hides today, and a rest fitted to one run of two GPUs. Asserts the other rows of two GPUs within 5 %. The row of 512
lanes is the only real prediction: the bfloat16 row takes its own measured sum.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt

# Two H100 of one host, 3 x 1150, 60,000 words; tokens/s by lanes on one GPU, and (GPUs, lanes, bytes a number): row.
# Jittered windows of 70 have 64.25 tokens on average.
WINDOW = 64.25
ONE = {128: 1_024_066, 512: 1_556_631}
TWO = {(1024, 4): 3_000_706, (1024, 2): 3_015_616, (512, 4): 2_548_731}
SUM_MS = {4: 0.646, 2: 0.599}  # of 177 MB over NVLink; bfloat16 has to be converted on both sides
NUMBERS = 44.2e6
GPUS_A_HOST = 8
# Not measured: what of a network's rate an all-reduce gets, and what a step of it between hosts takes.
EFFICIENCY, HOP_MS = 0.9, 0.02
NETWORKS = (100, 200, 400)
TOLERANCE = 0.05


@dataclass(frozen=True)
class Cost:
    """A step's parts in ms."""

    compute: float
    rest: float
    local_sum: float
    network: float

    @property
    def today(self) -> float:
        """Nothing overlaps."""
        return self.compute + self.rest + self.local_sum + self.network

    @property
    def overlapped(self) -> float:
        """The bound: all of the sum hidden behind computing."""
        return self.rest + max(self.compute, self.local_sum + self.network)


def compute_ms(lanes: float) -> float:
    """Return what one GPU takes for a window of so many lanes: a fixed part and one in proportion."""
    (few, slow), (many, fast) = ((lanes, 1e3 * lanes * WINDOW / rate) for lanes, rate in ONE.items())
    return slow + (lanes - few) * (fast - slow) / (many - few)


# The row that the rest is fitted to: agreement of the ranks, waits, whatever else two GPUs add.
FITTED = (1024, 4)
REST_MS = 1e3 * 1024 * WINDOW / TWO[FITTED] - compute_ms(512) - SUM_MS[4]


def step(gpus: int, lanes: int, gigabits: float, width: int = 4) -> Cost:
    """Return the cost with so many lanes a GPU, hosts of 8 GPUs, each on a network of so many Gb/s."""
    if gpus == 1:
        return Cost(compute_ms(lanes), 0.0, 0.0, 0.0)
    hosts, local = -(-gpus // GPUS_A_HOST), min(gpus, GPUS_A_HOST)
    # A ring moves 2 (n - 1) / n of the bytes: as much as of two GPUs times this.
    local_sum = SUM_MS[width] * 2 * (local - 1) / local
    share = 2 * (hosts - 1) / hosts
    rate = gigabits / 8 * 1e6 * EFFICIENCY  # bytes a ms
    network = share * NUMBERS * width / rate + 2 * (hosts - 1) * HOP_MS
    return Cost(compute_ms(lanes), REST_MS, local_sum, network)


def check() -> None:
    """Hold the model against the rows of two GPUs that it was not fitted to."""
    for (lanes, width), measured in TWO.items():
        if (lanes, width) == FITTED:
            continue
        said = 1e3 * lanes * WINDOW / step(2, lanes // 2, NETWORKS[0], width).today
        print(
            f"2 GPUs, {lanes} lanes, {8 * width} bits: said {said:,.0f}, measured {measured:,}: {said / measured:.3f}"
        )
        assert abs(said / measured - 1) < TOLERANCE


def table(price: float) -> str:
    """Return the rows of docs/scaling.md."""
    head = (
        "| GPUs | lanes a GPU | network, Gb/s | gradients | ms a step | of these network | tokens/s | "
        "against linear | tokens/s if all overlapped | GPU hours a billion words | cost |\n" + "|---" * 11 + "|"
    )
    rows = [head]
    sizes = [(1, 0), (2, 0), (4, 0), (8, 0), *((gpus, rate) for gpus in (16, 32, 64) for rate in NETWORKS)]
    for lanes in (512, 128):
        one = lanes * WINDOW / compute_ms(lanes)
        for gpus, rate in sizes:
            for width in (4, 2) if rate else (4,):
                cost = step(gpus, lanes, rate or NETWORKS[0], width)
                speed = [1e3 * gpus * lanes * WINDOW / ms for ms in (cost.today, cost.overlapped)]
                hours = gpus * 1e9 / speed[0] / 3600
                rows.append(
                    f"| {gpus} | {lanes} | {rate or ''} | {'float32' if width == 4 else 'bf16'} | {cost.today:.1f} | "
                    f"{cost.network:.1f} | {speed[0]:,.0f} | {speed[0] / 1e3 / one / gpus:.2f} | {speed[1]:,.0f} | "
                    f"{hours:.2f} | {hours * price:.2f} |"
                )
    return "\n".join(rows)


def limits() -> str:
    """Return from how many GPUs on the network takes longer than computing."""
    rows = []
    for lanes in (512, 256, 128):
        for rate in NETWORKS:
            for width in (4, 2):
                costs = ((gpus, step(gpus, lanes, rate, width)) for gpus in range(16, 65, 8))
                first = next((gpus for gpus, cost in costs if cost.network + cost.local_sum > cost.compute), None)
                rows.append(f"| {lanes} | {rate} | {8 * width} | {first or 'not up to 64'} |")
    return "\n".join(["| lanes a GPU | Gb/s | bits | GPUs |\n|---|---|---|---|", *rows])


def plot(path: Path) -> None:
    """Draw tokens/s over GPUs at 512 lanes each."""
    figure, axes = plt.subplots(figsize=(7, 4.5))
    sizes = [1, 2, 4, 8, 16, 24, 32, 40, 48, 56, 64]
    axes.plot(sizes, [n * ONE[512] / 1e6 for n in sizes], "k:", label="linear")
    for rate in NETWORKS:
        for width, style in ((4, "-"), (2, "--")):
            speeds = [n * 512 * WINDOW / step(n, 512, rate, width).today / 1e3 for n in sizes]
            axes.plot(sizes, speeds, style, label=f"{rate} Gb/s, {8 * width} bits")
    axes.plot([1, 2], [ONE[512] / 1e6, TWO[1024, 4] / 1e6], "ko", label="measured")
    axes.set(xlabel="GPUs, eight a host, 512 lanes each", ylabel="million tokens/s")
    axes.legend()
    figure.tight_layout()
    mpl.rcParams["svg.hashsalt"] = "scaling"
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Check, print the tables, draw."""
    check()
    print(f"rest: {REST_MS:.3f} ms a step")
    print(table(float(sys.argv[1]) if len(sys.argv) > 1 else 3.0))
    print(limits())
    plot(Path(__file__).parents[2] / "docs" / "scaling.svg")


if __name__ == "__main__":
    main()
