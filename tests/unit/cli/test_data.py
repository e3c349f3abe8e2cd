"""Raw text by hand: nothing is overwritten, addresses are read as files are."""

from __future__ import annotations

import json
from pathlib import Path

import fsspec
import pytest

TEXT = "the film is a moving and funny story of a boy and his dog who go to the sea . "


def test_out_is_never_overwritten(folder: Path, ulmfit, capsys: pytest.CaptureFixture[str]) -> None:
    precious = folder / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    assert ulmfit("ingest", folder / "corpus.csv", "--out", precious) == 2
    assert "is not empty" in capsys.readouterr().err
    assert (precious / "thesis.txt").read_text() == "years of work"
    assert ulmfit("ingest", folder / "corpus.csv", "--out", folder / "documents") == 0
    assert ulmfit("ingest", folder / "corpus.csv", "--out", folder / "documents") == 0
    (folder / "corpus.csv").write_text("text\n" + "".join(f'"other {TEXT}{i}"\n' for i in range(200)))
    assert ulmfit("ingest", folder / "corpus.csv", "--out", folder / "documents") == 2
    assert "holds another result" in capsys.readouterr().err


def test_a_url_is_ingested_as_a_file_and_one_that_cannot_be_read_is_refused(
    folder: Path, ulmfit, capsys: pytest.CaptureFixture[str]
) -> None:
    fsspec.filesystem("memory").pipe({"/cli/corpus.csv": (folder / "corpus.csv").read_bytes()})
    assert ulmfit("ingest", "memory://cli/corpus.csv", "--out", folder / "documents") == 0
    assert json.loads(capsys.readouterr().out)["sources"]["corpus.csv"]["rows"] == 200
    for url in ("nosuch://cli/corpus.csv", "memory://cli/absent.csv"):
        assert ulmfit("ingest", url, "--out", folder / "other") == 2
        message = capsys.readouterr().err
        assert all(word in message for word in (f"error: cannot read {url}", "found:", "do:")), message
        assert not (folder / "other").exists()
