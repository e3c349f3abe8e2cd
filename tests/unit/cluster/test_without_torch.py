"""spaCy loads without torch, and torch can be had afterwards; a process that has torch keeps it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ulmfit_dist.cluster.without_torch import torch_left_out

IN_A_FRESH_PROCESS = """
import sys
from ulmfit_dist.cluster.without_torch import torch_left_out

assert "torch" not in sys.modules
with torch_left_out():
    import spacy
    tokenizer = spacy.blank("en").tokenizer
assert "torch" not in sys.modules
print(*[token.text for token in tokenizer("don't")])
import torch
print(torch.ones(2).sum().item())
"""


def test_spacy_comes_without_torch_and_torch_later() -> None:
    ended = subprocess.run([sys.executable, "-c", IN_A_FRESH_PROCESS], capture_output=True, text=True, check=False)
    assert (ended.stdout.split(), ended.returncode) == (["do", "n't", "2.0"], 0), ended.stderr


def test_a_process_that_has_torch_keeps_it() -> None:
    import torch

    with torch_left_out():
        assert sys.modules["torch"] is torch
    assert sys.modules["torch"] is torch


def test_an_error_within_leaves_no_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    with pytest.raises(KeyError), torch_left_out():
        raise KeyError
    assert "torch" not in sys.modules
