"""The ingest of a crawl, killed -9 with its process tree at twenty random moments, in one process and on two workers.

    ULMFIT_HTML=folder pytest -m slow -s tests/bench/bench_crawl_kill.py

$ULMFIT_HTML as for bench_crawl.py: $ULMFIT_KILL_PAGES (2,000) of its pages, in twenty WARC files. Each kill is followed
by the same command in the same folder; a crawl that gets to its end must have the bytes of an undisturbed one, and the
next kills are of a new one.
"""

from __future__ import annotations

import importlib.util
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ulmfit_dist.files import digest_file


def _module(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


whole_run = _module("whole_run", Path(__file__).parents[1] / "multiprocess" / "test_run.py")
bench_crawl = _module("bench_crawl", Path(__file__).with_name("bench_crawl.py"))

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(3600)]

PAGES = int(os.environ.get("ULMFIT_KILL_PAGES", "2000"))
FILES, KILLS = 20, 20
# Of each file a piece, however small: a crawl of this size would else be read by one worker.
ON_WORKERS = """
import sys
from ulmfit_dist.cluster import ingesting
from ulmfit_dist.crawl import pieces
pieces.PIECE_BYTES = ingesting.PIECE_BYTES = 10_000
from ulmfit_dist.cli import main
sys.argv = ["ulmfit", "ingest", *sys.argv[2:], "--workers", "2", "--out", sys.argv[1]]
main()
"""
IN_ONE_PROCESS = """
import sys
from pathlib import Path
from ulmfit_dist.crawl.ingest import ingest
from ulmfit_dist.crawl.settings import IngestSettings
from ulmfit_dist.events import Silent
from ulmfit_dist.stage import StageCall
ingest(StageCall(IngestSettings(sources=sys.argv[2:]), {}, Path(sys.argv[1]), Silent()))
"""


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    bench_crawl.PAGES_A_FILE = PAGES // FILES
    pages: list[str] = bench_crawl._packed(tmp_path_factory.mktemp("crawl"), PAGES)
    return pages


def _start(code: str, out: Path, crawl: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, str(out), *crawl]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def _finish(code: str, out: Path, crawl: list[str]) -> float:
    started = time.monotonic()
    with _start(code, out, crawl) as process:
        _, err = process.communicate(timeout=1200)
    assert process.returncode == 0, err
    return time.monotonic() - started


def _result(out: Path) -> dict[str, str]:
    files = [*out.glob("*/*.parquet"), *out.glob("*/manifest.json"), out / "quarantine.jsonl"]
    return {str(path.relative_to(out)): digest_file(path) for path in sorted(files)}


@pytest.mark.parametrize("code", [IN_ONE_PROCESS, ON_WORKERS], ids=["one process", "two workers"])
def test_killed_twenty_times_anywhere(code: str, crawl: list[str], tmp_path: Path) -> None:
    seconds = _finish(code, tmp_path / "whole", crawl)
    expected = _result(tmp_path / "whole")
    assert {"train", "valid"} <= {Path(name).parts[0] for name in expected}
    generator, kills, crawls = random.Random(11), 0, 0
    while kills < KILLS:
        out = tmp_path / f"killed-{crawls}"
        moment, alive, err = generator.uniform(0.1, 0.8) * seconds, False, ""
        with _start(code, out, crawl) as process:
            try:
                _, err = process.communicate(timeout=moment)
            except subprocess.TimeoutExpired:
                alive = True
                whole_run.kill_tree(process)
        kills += alive
        receipts = len(list(out.glob("pieces/[0-9]*.json")))
        print(f"kill {kills} after {moment:.1f} of {seconds:.1f} s: {receipts} receipts" if alive else "had ended")
        if not alive:
            assert process.returncode == 0, err
            assert _result(out) == expected
            crawls += 1
    _finish(code, tmp_path / f"killed-{crawls}", crawl)
    assert _result(tmp_path / f"killed-{crawls}") == expected
    print(f"{kills} kills of {crawls + 1} crawls, {len(crawl)} pieces each: all results identical")
