"""config.json: another library's, another kind's and another version's are told apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ulmfit_dist.errors import InputError
from ulmfit_dist.files import write_bytes, write_json
from ulmfit_dist.modelfolder.config import ModelConfig, read_config

CONFIG = ModelConfig(kind="language_model", unit="subword", direction="forward", vocab_size=9)


def _write(folder: Path, **changes: Any) -> Path:
    write_json(folder / "config.json", {**CONFIG.model_dump(mode="json"), **changes})
    return folder


def test_round_trip(tmp_path: Path) -> None:
    assert read_config(_write(tmp_path), "language_model") == CONFIG


def test_no_folder_and_no_config(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        read_config(tmp_path / "none", "classifier")
    with pytest.raises(InputError, match=r"no config\.json in it"):
        read_config(tmp_path, "classifier")


def test_a_foreign_config(tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", {"architectures": ["BertModel"], "hidden_size": 768})
    with pytest.raises(InputError, match="not a config of ulmfit_dist") as caught:
        read_config(tmp_path, "language_model")
    assert "architectures" in str(caught.value)


def test_a_config_that_is_no_json_or_no_table(tmp_path: Path) -> None:
    write_bytes(tmp_path / "config.json", b"{half")
    with pytest.raises(InputError, match="is not JSON"):
        read_config(tmp_path, "language_model")
    write_json(tmp_path / "config.json", [1])
    with pytest.raises(InputError, match="not a config of ulmfit_dist"):
        read_config(tmp_path, "language_model")


def test_the_wrong_kind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a classifier; found: a language model"):
        read_config(_write(tmp_path), "classifier")


@pytest.mark.parametrize("changes", [{"format": 2}, {"unknown_key": 1}, {"vocab_size": -1}])
def test_a_version_that_is_not_read(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(changes))):
        read_config(_write(tmp_path, **changes), "language_model")
