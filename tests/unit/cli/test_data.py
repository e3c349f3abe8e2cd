"""Raw text by hand: nothing is overwritten, addresses are read as files are."""

from __future__ import annotations

import json
import random
from pathlib import Path

import fsspec
import pytest

TEXT = "the film is a moving and funny story of a boy and his dog who go to the sea . "
WORDS = """
the museum opened its doors to public in spring of that year and people from town came see what had been collected over
three generations by careful work family who founded it with only small house near river where they kept letters books
maps coins pictures brought home after long journeys through many distant countries before war ended everything there
"""


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


def test_a_crawl_leaves_its_report(folder: Path, ulmfit, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "site").mkdir()
    for page in range(60):
        words = random.Random(page).sample(WORDS.split(), 60)
        text = " ".join(f"{' '.join(words[i : i + 10]).capitalize()}." for i in range(0, 60, 10))
        (folder / "site" / f"{page}.html").write_text(f"<main><p>{text}</p></main>")
    assert ulmfit("ingest", folder / "site", "--out", folder / "documents") == 0
    assert capsys.readouterr().err.strip().endswith("report.html")
    assert "60 of 60 documents are kept" in (folder / "documents" / "report.html").read_text(encoding="utf-8")


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
