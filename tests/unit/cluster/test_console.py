"""What a watcher prints: plain timed lines off a terminal, with speed, loss and time left."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from ulmfit_dist.cluster import console as console_module
from ulmfit_dist.cluster.console import describe, describe_estimate, make_watch


def test_lines_are_plain_timed_and_say_how_long_it_will_take(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(float(second) for second in range(0, 10_000, 5))
    monkeypatch.setattr(console_module.time, "monotonic", lambda: next(clock))
    out = io.StringIO()
    watch = make_watch(Console(file=out, width=200))
    watch.started("pretrain-word-forward")
    for done in range(0, 101, 10):
        watch.progress("pretrain-word-forward", {"done": done, "total": 100, "loss": 5.25, "tokens_per_s": 8123.4})
    watch.ended("pretrain-word-forward", "done", 55.0)
    watch.ended("ensemble", "blocked by classifier", 0.0)
    lines = out.getvalue().splitlines()
    assert all(re.match(r"\[ +\d+\.\ds\] ", line) for line in lines)
    assert "\x1b" not in out.getvalue()
    assert lines[0].endswith("pretrain-word-forward: started")
    assert any(re.search(r"\d+% loss 5\.250, 8,123 tokens/s, \d+ s left$", line) for line in lines)
    assert lines[-2].endswith("done in 55.0 s")
    assert lines[-1].endswith("ensemble: blocked by classifier")


def test_progress_lines_are_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(second / 10 for second in range(100_000))
    monkeypatch.setattr(console_module.time, "monotonic", lambda: next(clock))
    out = io.StringIO()
    watch = make_watch(Console(file=out, width=200))
    for done in range(1000):
        watch.progress("tokenize-word", {"done": done, "total": 1000})
    assert 5 < len(out.getvalue().splitlines()) < 15


def test_a_terminal_gets_bars() -> None:
    out = io.StringIO()
    watch = make_watch(Console(file=out, force_terminal=True, width=120))
    watch.started("tokenize-word")
    watch.progress("tokenize-word", {"done": 1, "total": 2, "loss": 1.0})
    watch.ended("tokenize-word", "done", 1.0)
    watch.close()
    assert "✓ tokenize-word" in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue())


def test_metrics_are_said_in_words() -> None:
    assert describe({"epoch": 1, "loss": 0.5, "documents_per_s": 1234.5}) == "epoch 1, loss 0.500, 1,234 documents/s"
    assert describe({}) == ""


def test_a_phase_and_its_nodes_are_said() -> None:
    assert describe({"what": "count words", "nodes": "1.2 M characters/s; n1: 1.2 M, 2 actors"}) == (
        "count words, 1.2 M characters/s; n1: 1.2 M, 2 actors"
    )


def test_an_estimate_is_a_sentence() -> None:
    event = {"what": "train SentencePiece", "sample_characters": 20_000_000, "seconds": 23.0, "megabytes": 400}
    assert describe_estimate(event) == "train SentencePiece: 20,000,000 characters, about 23 s and 400 MB"
