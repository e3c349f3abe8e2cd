"""A loss that is no number: the message and the file name the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from ulmfit_dist.errors import DataError
from ulmfit_dist.files import read_json
from ulmfit_dist.training.guard import refuse_non_finite


def test_message_and_file_name_step_epoch_and_documents(tmp_path: Path) -> None:
    documents = [f"{i:032x}" for i in range(8)]
    path = tmp_path / "non-finite.json"
    with pytest.raises(DataError) as caught:
        refuse_non_finite(path, {"loss_sum": float("nan")}, {"step": 12, "epoch": 3}, documents)
    message = str(caught.value)
    for part in ("step 12", "epoch 3", documents[0], "3 more", str(path), "learning rate"):
        assert part in message
    assert read_json(path) == {"step": 12, "epoch": 3, "numbers": {"loss_sum": "nan"}, "documents": documents}
