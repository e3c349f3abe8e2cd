"""The picture of a range test is a PNG of equal bytes for equal tests, also where nothing is suggested."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.image import imread

from ulmfit_dist.training.rateplot import plot_sweep
from ulmfit_dist.training.rates import Sweep

RED = np.array([214, 39, 40]) / 255  # tab:red, the mark of the valley


def _sweep(falls: bool) -> Sweep:
    sweep = Sweep(40)
    for step in range(40):
        sweep.add(10.0 ** (step / 10 - 5), 5.0 - 0.1 * step if falls else 5.0 + 0.1 * step)
    return sweep


def test_it_marks_the_suggestion_where_it_is(tmp_path: Path) -> None:
    marked, bare = tmp_path / "marked.png", tmp_path / "bare.png"
    plot_sweep(marked, _sweep(falls=True))
    plot_sweep(bare, _sweep(falls=False))
    assert (np.abs(imread(marked)[..., :3] - RED).max(-1) < 0.02).sum() > 20
    assert not (np.abs(imread(bare)[..., :3] - RED).max(-1) < 0.02).any()
    assert marked.read_bytes().startswith(b"\x89PNG")
    plot_sweep(bare, _sweep(falls=True))
    assert bare.read_bytes() == marked.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bare.png", "marked.png"]
