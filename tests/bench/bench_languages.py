"""One raw WARC of Thai, Finnish, Turkish, German and a language without a folder, to small language models of each.

    ULMFIT_HTML=folder ULMFIT_DATA=~/data pytest -m slow -s tests/bench/bench_languages.py

$ULMFIT_HTML (default ~/data/html) holds the HTML files of Debian's libreoffice-help-fi, -tr, -de and -eu (`apt-get
download`, then `dpkg -x`); Basque has no folder in tokenizers/. Thai pages are made of articles of thai/thaigov below
$ULMFIT_DATA. Pages of all languages are mixed in one WARC, ten to a site. The models are of
the quickstart's size. Words of Thai need pythainlp: without it all languages get pieces alone.
"""

from __future__ import annotations

import gzip
import html
import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ulmfit_dist.tokenization.segmenters import missing_packages

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(3600)]

HTML = Path(os.environ.get("ULMFIT_HTML", "~/data/html")).expanduser()
DATA = Path(os.environ.get("ULMFIT_DATA", "~/data")).expanduser()
PAGES = int(os.environ.get("ULMFIT_PAGES", "800"))
LANGUAGES = ("th", "fi", "tr", "de", "eu")
ARTICLE_CHARACTERS = 2500
SITE = 10  # pages: enough that what repeats over a site is seen, and some sites are for validation
SMALL = {
    "directions": ["forward"],
    "corpus.valid_share": 0.05,
    "corpus.item_characters": 1_000_000,
    "tokenizers.word.change.max_vocab": 8000,
    "tokenizers.subword.change.vocab_size": 4000,
    "model.embedding_size": 96,
    "model.hidden_size": 192,
    "model.num_layers": 2,
    "pretrain.training.epochs": 2,
    "pretrain.training.num_lanes": 16,
    "pretrain.training.lr": 0.01,
    "pretrain.training.schedule.cut_steps": 0,
    "resources.ingest_workers": 2,
    "resources.tokenizing_workers": 1,
    "resources.pretrain_gpus_per_worker": 0.0,
}


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not HTML.is_dir() or not (DATA / "thai").is_dir():
        pytest.skip(f"no {HTML} or {DATA / 'thai'}")
    records = []
    for language in LANGUAGES:
        pages = _thai_pages() if language == "th" else _help_pages(language)
        records += [
            _record(f"http://{language}{place // SITE}.example/{place}.html", page) for place, page in enumerate(pages)
        ]
    random.Random(1).shuffle(records)
    path = tmp_path_factory.mktemp("crawl") / "crawl.warc.gz"
    path.write_bytes(b"".join(gzip.compress(record, mtime=0) for record in records))
    print(f"\n{len(records)} pages, {path.stat().st_size / 1e6:.0f} MB compressed")
    return path


def _help_pages(language: str) -> list[bytes]:
    files = [path for path in sorted(HTML.rglob("*.html")) if f"/{language}/" in str(path)]
    assert len(files) > 100, f"no pages of {language} in {HTML}"
    # Short ones are jump pages.
    long = [data for path in files if len(data := path.read_bytes()) > 10_000]
    return random.Random(1).sample(long, min(PAGES, len(long)))


def _thai_pages() -> list[bytes]:
    paragraphs: list[str] = []
    pages: list[bytes] = []
    for path in sorted((DATA / "thai" / "thaigov").glob("*.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.strip() and not re.search(r"https?://|data/\d{4}/", line):
                paragraphs.append(f"<p>{html.escape(line.strip())}</p>")
            if sum(map(len, paragraphs)) > ARTICLE_CHARACTERS:
                body = "\n".join(paragraphs)
                page = f"<html><head><meta charset='utf-8'></head><body><main>{body}</main></body></html>"
                pages.append(page.encode())
                paragraphs = []
            if len(pages) == PAGES:
                return pages
    return pages


def _record(url: str, page: bytes) -> bytes:
    block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + page
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\nWARC-Record-ID: <urn:page:{url}>\r\n"
        f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    return head.encode() + block + b"\r\n\r\n"


def test_from_one_raw_crawl_to_models_in_one_command(crawl: Path, tmp_path: Path) -> None:
    units = ["subword"] if missing_packages("th") else ["word", "subword"]
    settings = {**SMALL, "units": units, "corpus.sources": [str(crawl)], "languages.separate": list(LANGUAGES)}
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    run = tmp_path / "run"
    command = [sys.executable, "-m", "ulmfit_dist", "run", "languages/from_crawl", "--run-dir", str(run), *sets]
    started = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env={**os.environ, "COLUMNS": "120"})
    seconds = time.monotonic() - started
    print(done.stdout)
    print(f"{seconds:.0f} s from the raw crawl")
    assert done.returncode == 0
    rows = json.loads((run / "languages.json").read_text(encoding="utf-8"))
    assert [row["language"] for row in rows] == list(LANGUAGES)
    for row in rows:
        expected = {"subword-forward"} if row["language"] == "eu" else {f"{unit}-forward" for unit in units}
        assert {member["member"] for member in row["members"]} == expected
        assert row["state"] == "done"
        for member in row["members"]:
            assert (run / member["model"] / "model.safetensors").is_file()
            # Of a vocabulary without knowledge the perplexity is its size.
            assert 1 < member["perplexity"] < 4000
            assert 0 < member["bits_per_character"] < 8
