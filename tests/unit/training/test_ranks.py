"""The ranks of a training: how few there may be, and that their number is no part of the result."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from ulmfit_dist.training.ranks import RankSettings


@pytest.mark.parametrize(("workers", "fewest", "elastic"), [(4, 0, False), (4, 4, False), (4, 1, True)])
def test_a_group_is_elastic_when_it_may_be_smaller(workers: int, fewest: int, elastic: bool) -> None:
    ranks = RankSettings(workers=workers, min_workers=fewest)
    assert ranks.elastic == elastic
    assert ranks.fewest_workers == (fewest or workers)


def test_more_at_least_than_at_most_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"min_workers \(3\) is more than workers \(2\)"):
        RankSettings(workers=2, min_workers=3)


def test_nothing_of_it_changes_a_result() -> None:
    assert RankSettings(workers=8, min_workers=2, cpus_per_worker=4, gpus_per_worker=1).semantic() == {}
