"""Near-duplicates: memory and time of ten million signatures, and how many planted near-duplicates are found.

    pytest -m slow -s tests/bench/bench_neardup.py

The ten million are drawn, in the files that cleaning leaves (a tenth are near-duplicates of similarity .9); pairs and
clusters are found by the code that an ingest runs. The planted ones are texts, through all of it.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ulmfit_dist.crawl.minhash import NUM_BANDS, ROWS_PER_BAND, shingles, signature, units_of
from ulmfit_dist.crawl.neardup import band_items, join, make_pair_writer, pairs_path, save_bands

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

SIGNATURES, FILES = 10_000_000, 20
LIMIT_MB = 2000
SIMILARITIES = (0.95, 0.9, 0.87, 0.85, 0.8, 0.7, 0.6, 0.5, 0.45)
BOUNDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 1.01)
RUN = """
import sys, time
from pathlib import Path
from ulmfit_dist.crawl.neardup import band_items, join, make_pair_writer, pairs_path
folder = Path(sys.argv[1])
paths = sorted(folder.glob("*.bands"))
items = band_items(paths)
write = make_pair_writer(paths, folder / "pairs", 0.7)
for item in items:
    write(item)
labels = join(int(sys.argv[2]), [pairs_path(folder / "pairs", item) for item in items])
print(int((labels != __import__("numpy").arange(len(labels))).sum()), time.process_time())
"""


def draw(folder: Path) -> int:
    """Write the signatures, every tenth a near-duplicate of the one before it in its file; return how many are."""
    rng = np.random.default_rng(1)
    count = SIGNATURES // FILES
    for number in range(FILES):
        keys = rng.integers(0, 1 << 64, (NUM_BANDS, count), np.uint64)
        tails = rng.integers(0, 256, (count, NUM_BANDS * ROWS_PER_BAND), np.uint8)
        copies = np.arange(9, count, 10)
        same = rng.random((len(copies), NUM_BANDS * ROWS_PER_BAND)) < 0.9
        tails[copies] = np.where(same, tails[copies - 1], tails[copies])
        whole = same.reshape(-1, NUM_BANDS, ROWS_PER_BAND).all(axis=2).T
        keys[:, copies] = np.where(whole, keys[:, copies - 1], keys[:, copies])
        (folder / f"{number:05d}.bands").write_bytes(keys.tobytes() + tails.tobytes())
    return FILES * len(copies)


def test_ten_million_signatures(tmp_path: Path) -> None:
    planted, peak, started = draw(tmp_path), 0, time.monotonic()
    command = [sys.executable, "-c", RUN, str(tmp_path), str(SIGNATURES)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            status = Path(f"/proc/{process.pid}/status").read_text()
            found = [line.split()[1] for line in status.splitlines() if line.startswith("RssAnon:")]
            peak = max(peak, int(found[0]) // 1000 if found else 0)
            time.sleep(0.05)
        assert process.stdout is not None
        caught, seconds = process.stdout.read().split()
    wall = time.monotonic() - started
    print(f"\n{SIGNATURES:,} signatures: {float(seconds):.0f} CPU s, {wall:.0f} s, peak RssAnon {peak} MB")
    print(f"{planted:,} planted at .9, {int(caught):,} joined: {int(caught) / planted:.4f}")
    assert process.returncode == 0
    assert peak < LIMIT_MB
    assert 0.98 * planted < int(caught) <= planted


def test_planted_texts(tmp_path: Path) -> None:
    rng = random.Random(3)
    words = [f"w{n}" for n in range(20_000)]
    texts = [" ".join(rng.choices(words, k=300)) for _ in range(3000)]
    originals, truth = len(texts), list[tuple[float, int]]()
    for similarity in SIMILARITIES:
        changed = 1 - (2 * similarity / (1 + similarity)) ** 0.2
        for origin in rng.sample(range(originals), 300):
            text = " ".join(word if rng.random() >= changed else rng.choice(words) for word in texts[origin].split())
            one, two = (set(shingles(units_of(t)).tolist()) for t in (texts[origin], text))
            truth.append((len(one & two) / len(one | two), origin))
            texts.append(text)
    save_bands(tmp_path / "a.bands", [signature(shingles(units_of(text))) for text in texts], [1] * len(texts))
    items = band_items([tmp_path / "a.bands"])
    write = make_pair_writer([tmp_path / "a.bands"], tmp_path, 0.7)
    for item in items:
        write(item)
    labels = join(len(texts), [pairs_path(tmp_path, item) for item in items])
    false = int((labels[:originals] != np.arange(originals)).sum())
    caught = [labels[place] == labels[origin] for place, (_, origin) in enumerate(truth, originals)]
    shares = {}
    # By what two texts' true similarity is: a mean of .85 holds pairs of .75.
    for low, high in pairwise(BOUNDS):
        found = [hit for hit, (similarity, _) in zip(caught, truth, strict=True) if low <= similarity < high]
        shares[low] = sum(found) / len(found)
        print(f"\nJaccard {low} to {high}: {shares[low]:.3f} of {len(found)} joined with their original", end="")
    print(f"\n{false} of {originals} texts without a near-duplicate among them are joined")
    assert all(share >= 0.95 for low, share in shares.items() if low >= 0.85)
    assert false < 0.01 * originals
    assert shares[BOUNDS[0]] < 0.01
