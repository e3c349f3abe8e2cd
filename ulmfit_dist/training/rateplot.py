"""The picture of a learning-rate range test."""

from __future__ import annotations

from pathlib import Path

from ulmfit_dist.files import atomic_path
from ulmfit_dist.training.rates import Sweep

_MARKS = {"valley": ("o", "tab:red"), "steepest": ("D", "tab:green")}


def plot_sweep(path: Path, sweep: Sweep) -> None:
    """Write a PNG: loss and smoothed loss over the rate, on a log axis, with each suggestion marked and named.

    Equal tests give equal bytes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # half a second, for this alone
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    plot = figure.add_subplot(xscale="log", xlabel="learning rate of the top layers", ylabel="loss, nats a token")
    smoothed = {point.lr: point.smoothed for point in sweep.points}
    plot.plot(list(smoothed), [point.loss for point in sweep.points], color="0.75", linewidth=0.8, label="loss")
    plot.plot(list(smoothed), list(smoothed.values()), color="tab:blue", label="smoothed")
    for name, lr in sweep.suggestions().items():
        if lr is not None:
            marker, color = _MARKS[name]
            plot.plot([lr], [smoothed[lr]], marker, color=color, label=f"{name}: {lr:.2g}")
    if sweep.points:
        # What has diverged leaves the picture: it would press the fall flat.
        first, lowest = sweep.points[0].loss, min(point.loss for point in sweep.points)
        plot.set_ylim(lowest - 0.1 * (first - lowest) - 0.1, first + 0.5 * (first - lowest) + 0.1)
    plot.set_title(f"ended: {sweep.ended}", loc="left", fontsize=9)
    plot.grid(visible=True, alpha=0.2)
    plot.legend(frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
