"""The report of a crawl: a made-up one with hostile pages, and one that the pipeline made."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ulmfit_dist.cli import app
from ulmfit_dist.corpus.documents import DROP, Document, write_documents
from ulmfit_dist.crawl.ingest import ingest
from ulmfit_dist.crawl.settings import IngestSettings, source_inputs
from ulmfit_dist.errors import InputError
from ulmfit_dist.events import EventLog, Silent
from ulmfit_dist.report.crawl import crawl_report, read_crawl_stage
from ulmfit_dist.report.crawlreasons import meaning
from ulmfit_dist.report.render import render_crawl, render_report
from ulmfit_dist.stage import StageCall

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = '<script>document.title = "owned"</script><img src="https://evil.example/x.png"> &amp; \0\u202eevil\u2028'
SITE = 'http://<b onmouseover="x">.example/"><iframe src="https://evil.example/">\u202e'
ENGLISH = "The museum opened its doors in the spring of that year, and the people of the town came to see number {}. "


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    folder = tmp_path / "a <crawl>"
    first = {"cluster": f"{0:032x}", "cluster_size": 2}
    documents = [
        Document(f"{0:032x}", HOSTILE + "x" * 1000, SITE, lang="en", lang_score=0.99, **first),  # type: ignore[arg-type]
        Document(f"{1:032x}", HOSTILE, SITE, lang="en", decision=DROP, reason="near_duplicate", **first),  # type: ignore[arg-type]
        *(
            Document(f"{2 + i:032x}", "text", SITE, lang="<i>", decision=DROP, reason="<s>", label="x")
            for i in range(9)
        ),
        *(Document(f"{20 + i:032x}", "t", lang="fi", decision=DROP, reason="max_symbols") for i in range(30)),
        Document(f"{50:032x}", "", SITE, decision=DROP, reason="blocked"),
        Document(f"{51:032x}", "a", SITE, lang="en", decision=DROP, reason="noai"),
    ]
    write_documents(folder / "train", documents, 1000)
    crawl = {"counts": {"masked_email": 7}, "charsets": {"utf-8": 40, "cp1252": 10}}
    record = {"kind": "ingest", "summary": {"crawl": crawl, "quarantined": {"cut file": 1}}, "seconds": 12.0}
    (folder / "stage.json").write_text(json.dumps(record | {"versions": {}, "host": "cradle", "inputs": {}}))
    log = EventLog(folder / "events.jsonl")
    for phase, seconds in (("read", 4.0), ("read", 2.0), ("clean", 1.5)):
        log.event("phase-finished", phase=phase, seconds=seconds)
    return folder


class Tags(HTMLParser):
    """What a page has of elements, and of attributes that fetch."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.fetched: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        for name, value in attrs:
            fetches = name in ("src", "data", "action", "srcset") or (name == "href" and not str(value).startswith("#"))
            if fetches or name.startswith("on"):
                self.fetched.append(f"{name}={value}")


def test_numbers_by_hand(stage: Path) -> None:
    told = crawl_report(read_crawl_stage(stage))
    assert told["flagged"] == {"fi": {"max_symbols": 1.0}}
    total = 1 + 1 + 9 + 30 + 2
    assert told["asks"] == {
        "blocked": {"documents": 1, "share": round(1 / total, 4)},
        "noai": {"documents": 1, "share": round(1 / total, 4)},
        "noindex": {"documents": 0, "share": 0.0},
    }
    assert told["available"] == {"en": {"documents": 1, "tokens": 6, "train_tokens": 6}}
    assert [(row["phase"], row["seconds"]) for row in told["phases"]] == [("read", 6.0), ("clean", 1.5)]
    assert told["phases"][0]["documents_per_s"] == round(total / 6, 1)
    assert [sentence[:20] for sentence in told["warnings"]] == [
        "The rule max_symbols",
        "Too little text for ",
        "Records set aside in",
    ]
    assert json.loads((stage / "report.json").read_text(encoding="utf-8")) == told


def test_what_the_crawl_says_is_shown_and_does_nothing(stage: Path) -> None:
    page = render_crawl(stage).read_text(encoding="utf-8")
    tags = Tags(page)
    assert not tags.fetched
    assert not tags.names & {"script", "img", "iframe", "link", "object", "s", "form", "base"}
    assert "&lt;script&gt;document.title" in page
    assert "⟨U+0000⟩⟨U+202E⟩evil⟨U+2028⟩" in page
    assert not re.search("[\0\u202e\u2028]", page)
    assert not re.search(r"url\((?!#)|@import", page)
    assert "x" * 401 not in page, "samples are bounded"


def test_it_says_what_there_is(stage: Path) -> None:
    page = render_crawl(stage).read_text(encoding="utf-8")
    for said in (
        "1 of 43 documents are kept",
        "near_duplicate",
        "max_symbols",
        "cp1252",
        "masked email",
        "7 documents/s",
    ):
        assert said in page
    assert page.count("<svg") == 4, "fates, lengths, scores, clusters"
    assert 'class="flag"' in page
    assert meaning("max_symbols") in page


def test_the_same_bytes_on_every_run(stage: Path) -> None:
    names = ("report.html", "report.json")
    render_crawl(stage)
    first = [(stage / name).read_bytes() for name in names]
    render_crawl(stage)
    assert [(stage / name).read_bytes() for name in names] == first, "from the scan that is kept"
    (stage / "report.json").unlink()
    render_crawl(stage)
    assert [(stage / name).read_bytes() for name in names] == first, "from the documents"


def test_the_run_has_it_as_a_section(stage: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(stage, run / "stages/ingest-corpus-00000000")
    page = render_report(run).read_text(encoding="utf-8")
    assert "1 of 43 documents are kept" in page
    assert not Tags(page).fetched
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))


def test_the_command_takes_a_crawl(stage: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["report", str(stage)])
    assert result.exit_code == 0
    assert result.output.strip().endswith("report.html")
    assert (stage / "report.json").is_file()
    with pytest.raises(InputError, match="is no finished ingest"):
        render_crawl(tmp_path)


def test_of_a_crawl_that_the_pipeline_cleaned(tmp_path: Path) -> None:
    pages = {f"{i}.html": f"<main><p>{ENGLISH.format(i) * (1 + 3 * (i != 3))}</p></main>" for i in range(6)}
    pages["again.html"] = pages["5.html"]
    (tmp_path / "site").mkdir()
    for name, page in pages.items():
        (tmp_path / "site" / name).write_text(page, encoding="utf-8")
    out = tmp_path / "out"
    settings = IngestSettings.model_validate(
        {
            "sources": [{"path": str(tmp_path / "site"), "clean": "yes"}],
            "splits": {"train": 1.0},
            "crawl": {"quality": False, "near_duplicate_similarity": 0},
        }
    )
    summary = ingest(StageCall(settings, source_inputs(settings, tmp_path), out, EventLog(out / "events.jsonl")))
    (out / "stage.json").write_text(json.dumps({"kind": "ingest", "summary": summary, "seconds": 1.0}))
    told: dict[str, Any] = crawl_report(read_crawl_stage(out))
    documents = {code: {r: cell["documents"] for r, cell in row.items()} for code, row in told["matrix"].items()}
    assert documents == summary["crawl"]["languages"] == {"en": {"": 5, "duplicate": 1, "too_short": 1}}
    assert told["flagged"] == summary["crawl"]["flagged"]
    assert told["charsets"] == {"utf-8": 7}
    assert [row["phase"] for row in told["phases"]] == ["read", "clean", "compare", "decide", "write"]


def test_a_table_that_is_no_crawl_has_a_report_too(tmp_path: Path) -> None:
    source = tmp_path / "t.jsonl"
    source.write_text("".join(json.dumps({"text": f"document {i}"}) + "\n" for i in range(40)))
    settings = IngestSettings.model_validate({"sources": [str(source)], "splits": {"train": 1.0}})
    out = tmp_path / "out"
    summary = ingest(StageCall(settings, source_inputs(settings, tmp_path), out, Silent()))
    (out / "stage.json").write_text(json.dumps({"kind": "ingest", "summary": summary, "seconds": 1.0}))
    assert "40 of 40 documents are kept" in render_crawl(out).read_text(encoding="utf-8")


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
def test_a_browser_shows_it(stage: Path, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    page = render_crawl(stage)
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    shown = subprocess.run(
        [*command, "--virtual-time-budget=5000", "--dump-dom", page.as_uri()],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout
    assert "<title>a &lt;crawl&gt; · ulmfit_dist</title>" in shown, "no script of a page has run"
    assert "&lt;script&gt;document.title" in shown
    assert not Tags(shown).fetched
    picture = tmp_path / "page.png"
    subprocess.run(
        [*command, "--window-size=1000,1400", f"--screenshot={picture}", page.as_uri()],
        check=True,
        capture_output=True,
        timeout=120,
    )
    assert picture.stat().st_size > 20_000, "a picture of something"
