"""Smaller training sets: shares kept, one inside the other."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from ulmfit_dist.corpus.documents import Document
from ulmfit_dist.errors import InputError
from ulmfit_dist.finetune.labelled import LabelledDocuments
from ulmfit_dist.finetune.subsets import smaller_part

CLASSES = np.array([0] * 60 + [1] * 30 + [2] * 2)  # ordered by class


def _documents() -> LabelledDocuments:
    return LabelledDocuments([Document(f"{i:032x}", "text") for i in range(92)], ("a", "b", "c"), CLASSES)


def test_shares_are_kept_and_no_class_is_lost() -> None:
    for size, counts in ((3, [1, 1, 1]), (92, [60, 30, 2])):
        assert np.bincount(smaller_part(_documents(), size, 1).targets, minlength=3).tolist() == counts
    half = np.bincount(smaller_part(_documents(), 46, 1).targets, minlength=3)
    assert np.abs(half - [30, 15, 1]).max() <= 1


def test_a_smaller_part_lies_within_a_larger_one() -> None:
    parts = [set(smaller_part(_documents(), size, 7).ids) for size in (3, 10, 40, 92)]
    assert all(small < large for small, large in pairwise(parts))
    assert smaller_part(_documents(), 40, 7).ids == smaller_part(_documents(), 40, 7).ids
    assert smaller_part(_documents(), 40, 7).ids != smaller_part(_documents(), 40, 8).ids


@pytest.mark.parametrize("size", [2, 93])
def test_impossible_sizes_are_refused(size: int) -> None:
    with pytest.raises(InputError, match="cannot be cut"):
        smaller_part(_documents(), size, 1)
