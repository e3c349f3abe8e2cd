"""What the commands of one stage take from the folders they are given."""

from __future__ import annotations

from pathlib import Path

import pytest

from ulmfit_dist.cli.byhand import model_folder, parse_direction, tokenizer_of
from ulmfit_dist.errors import InputError
from ulmfit_dist.files import write_json
from ulmfit_dist.stage import RECORD_NAME


def test_a_stream_says_its_tokenizer_from_any_depth(tmp_path: Path) -> None:
    (tmp_path / "stage" / "train").mkdir(parents=True)
    with pytest.raises(InputError, match="which tokenizer"):
        tokenizer_of(tmp_path / "stage" / "train")
    write_json(tmp_path / "stage" / RECORD_NAME, {"inputs": {"tokenizer": "/some/words"}})
    assert tokenizer_of(tmp_path / "stage" / "train") == tokenizer_of(tmp_path / "stage") == Path("/some/words")


@pytest.mark.parametrize("inside", ["model", "ensemble"])
def test_a_stage_folder_stands_for_the_model_in_it(tmp_path: Path, inside: str) -> None:
    (tmp_path / inside).mkdir()
    assert model_folder(tmp_path) == tmp_path
    write_json(tmp_path / RECORD_NAME, {})
    assert model_folder(tmp_path) == tmp_path / inside


def test_a_direction_is_one_of_two() -> None:
    assert [parse_direction(word) for word in ("forward", "backward")] == ["forward", "backward"]
    with pytest.raises(InputError, match="no such direction"):
        parse_direction("sideways")


@pytest.mark.parametrize("rank", ["0", "1"])
def test_what_trains_on_no_ranks_is_refused_under_a_launcher_of_several(
    rank: str, folder: Path, ulmfit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("TORCHELASTIC_RUN_ID", "none"), ("WORLD_SIZE", "2"), ("RANK", rank)):
        monkeypatch.setenv(name, value)
    finetune = ["finetune-lm", folder, folder, "--valid", folder]
    for command in (["ingest", folder / "corpus.csv"], finetune):
        assert ulmfit(*command, "--out", folder / "out") == 2
        message = " ".join(capsys.readouterr().err.split())
        assert f"{command[0]} runs in one process found: 2 processes of torchrun" in message
        assert "pretrain and train-classifier" in message
        assert not (folder / "out").exists()
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert ulmfit("ingest", folder / "corpus.csv", "--out", folder / "out") == 0
