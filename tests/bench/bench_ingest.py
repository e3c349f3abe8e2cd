"""Ingest: MB/s of real text with one and two workers, and the memory that two million short documents need.

    pytest -m slow -s tests/bench/bench_ingest.py

The text is the folder lm_wiki_en_2015 (files of wikiextractor) in $ULMFIT_DATA, default ~/data.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ulmfit_dist.files import digest_file

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(3600)]

WIKI = Path(os.environ.get("ULMFIT_DATA", "~/data")).expanduser() / "lm_wiki_en_2015"
DOCUMENTS = 2_000_000
LIMIT_MB = 1500


def _ingest(source: Path, out: Path, workers: int) -> tuple[float, float, dict[str, object]]:
    """Run the command; return wall seconds, the peak RssAnon of its own process in MB, and the summary."""
    command = [sys.executable, "-m", "ulmfit_dist", "ingest", str(source), "--workers", str(workers), "--out", str(out)]
    started, peak = time.monotonic(), 0.0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        while process.poll() is None:
            peak = max(peak, _anonymous_mb(process.pid))
            time.sleep(0.1)
        assert process.stdout is not None
        summary = process.stdout.read()
    assert process.returncode == 0
    return time.monotonic() - started, peak, json.loads(summary)


def _anonymous_mb(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = [line.split()[1] for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(found[0]) / 1000 if found else 0.0


@pytest.mark.skipif(not WIKI.is_dir(), reason=f"no {WIKI}")
def test_speed_with_one_and_two_workers(tmp_path: Path) -> None:
    size = sum(file.stat().st_size for file in WIKI.iterdir()) / 1e6
    seconds: dict[int, float] = {}
    digests = []
    for workers in (1, 2):
        seconds[workers], memory, summary = _ingest(WIKI, tmp_path / str(workers), workers)
        files = sorted(path for path in (tmp_path / str(workers)).rglob("*") if path.suffix in (".parquet", ".jsonl"))
        digests.append([digest_file(path) for path in files if path.name != "events.jsonl"])
        rate = size / seconds[workers]
        print(
            f"\n{workers} workers: {size:.0f} MB in {seconds[workers]:.0f} s, {rate:.1f} MB/s, driver {memory:.0f} MB"
        )
        print(f"records {summary['records']}, quarantined {summary['quarantined']}, {summary['decisions']}")
    print(f"two workers are {seconds[1] / seconds[2]:.2f} times one, start of Ray included")
    assert digests[0] == digests[1]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_memory_of_two_million_documents(tmp_path: Path, kind: str) -> None:
    source = tmp_path / f"many.{kind}"
    with source.open("w") as file:
        if kind == "csv":
            file.write("text\n")
        for number in range(DOCUMENTS):
            file.write(f"text {number}\n" if kind == "csv" else f'{{"text": "text {number}"}}\n')
    seconds, memory, summary = _ingest(source, tmp_path / "out", 1)
    print(f"\n{DOCUMENTS:,} short documents in {kind}: {seconds:.0f} s, peak RssAnon {memory:.0f} MB")
    assert summary["records"] == DOCUMENTS
    assert memory < LIMIT_MB
