"""The public weights of 2018 at their full size: 238,462 x 400, three layers of 1150, the older format of torch.save.

    pytest -m slow -s tests/bench/bench_import_full_size.py

Random numbers in the layout of `fwd_wt103.h5` (462 MB); takes two minutes, 3 GB of memory and 1.5 GB of disk.
"""

from __future__ import annotations

import importlib.util
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ulmfit_dist.modelfolder.folder import load_language_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
VOCAB = 238_462
PROGRAM = """
import resource, sys
from pathlib import Path
from ulmfit_dist.modelfolder.importing import import_weights
print(import_weights(*map(Path, sys.argv[1:])))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def published():
    path = Path(__file__).parents[1] / "unit" / "modelfolder" / "published.py"
    spec = importlib.util.spec_from_file_location("published", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_full_size_gives_the_scores_of_a_plain_model(tmp_path):
    writer = published()
    given = writer.arrays(VOCAB, (400, 1150, 3), bias=False)
    weights = writer.save(tmp_path / "fwd_wt103.h5", writer.state_0_7(given), old=True)
    itos = writer.save_itos(tmp_path / "itos_wt103.pkl", writer.words(writer.MARKS_0_7, VOCAB), protocol=3)
    started = time.perf_counter()
    command = [sys.executable, "-c", PROGRAM, weights, itos, tmp_path / "model"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - started
    summary, peak = ended.stdout.splitlines()
    cpu = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert f"'vocab_size': {VOCAB}" in summary
    model, tokenizer, _ = load_language_model(tmp_path / "model")
    assert tokenizer.vocabulary.itos == tuple(writer.words(writer.MARKS_0_7, VOCAB))
    tokens = torch.randint(0, VOCAB, (12, 2), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours = model(tokens, model.encoder.initial_state(2)).logits_TBV
    theirs = writer.scores(given, tokens)
    worst = (ours - theirs).abs().max().item()
    print(
        f"\n{weights.stat().st_size / 1e6:.0f} MB imported in {seconds:.1f} s, {cpu.ru_utime + cpu.ru_stime:.1f} CPU s,"
    )
    print(f"peak {peak} MiB; largest difference of a score {worst:.1e} of scores up to {theirs.abs().max():.1f}")
    assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-4)
