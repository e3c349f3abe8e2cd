"""A crawl of many languages: documents a CPU second and memory of a worker, and the same result from 1, 2, 3 workers.

    ULMFIT_HTML=folder ULMFIT_DATATROVE=python pytest -m slow -s tests/bench/bench_crawl.py

$ULMFIT_HTML (default ~/data/html) holds HTML files, such as those of unpacked Debian packages (`apt-get download
libreoffice-help-de libreoffice-help-fi libreoffice-help-tr debian-handbook`, then `dpkg -x`); they are packed as WARC
files of 2,000 pages. CPU seconds count all processes of the command and not the start of an interpreter.
$ULMFIT_DATATROVE is an interpreter that has datatrove (datatrove_peer.py): it is run on $ULMFIT_PEER_PAGES (1,000) of
the pages, evenly over all, each side with its defaults, ours with MinHash and the loading of its models.
"""

from __future__ import annotations

import gzip
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ulmfit_dist.files import digest_file

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(3600)]

HTML = Path(os.environ.get("ULMFIT_HTML", "~/data/html")).expanduser()
PAGES = int(os.environ.get("ULMFIT_PAGES", "20000"))
PAGES_A_FILE = 2000
PEER = os.environ.get("ULMFIT_DATATROVE", "")
PEER_PAGES = int(os.environ.get("ULMFIT_PEER_PAGES", "1000"))
MIN_DOCUMENTS_A_SECOND = 120
MIN_TIMES_PEER = 6
LIMIT_MB = 600
RUN = """
import json, sys, time
from pathlib import Path
from ulmfit_dist.crawl.ingest import ingest
from ulmfit_dist.crawl.pages import _extractor
from ulmfit_dist.crawl.settings import IngestSettings
from ulmfit_dist.events import Silent
from ulmfit_dist.stage import StageCall
settings = IngestSettings(sources=sys.argv[2:], splits={"train": 1.0})
print(json.dumps(ingest(StageCall(settings, {}, Path(sys.argv[1]), Silent()))))
_extractor().close()  # waited for, so that its CPU seconds are counted
"""


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return _packed(tmp_path_factory.mktemp("crawl"), PAGES)


def _packed(folder: Path, number: int) -> list[str]:
    """WARC files of so many pages, evenly over all."""
    if not HTML.is_dir():
        pytest.skip(f"no {HTML}")
    files = sorted(HTML.rglob("*.html"))
    pages = [files[place * len(files) // number] for place in range(number)] if len(files) > number else files
    for start in range(0, len(pages), PAGES_A_FILE):
        records = [_record(page) for page in pages[start : start + PAGES_A_FILE]]
        (folder / f"{start:06d}.warc.gz").write_bytes(b"".join(gzip.compress(one, mtime=0) for one in records))
    print(f"\n{len(pages)} pages, {sum(page.stat().st_size for page in pages) / 1e6:.0f} MB of HTML")
    return sorted(str(path) for path in folder.iterdir())


def _record(page: Path) -> bytes:
    url = f"http://{page.relative_to(HTML).parts[0]}.example.org/{page.relative_to(HTML)}"
    block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + page.read_bytes()
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\nWARC-Record-ID: <urn:page:{url}>\r\n"
        "WARC-Date: 2024-04-25T16:24:44Z\r\n"
        f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    return head.encode() + block + b"\r\n\r\n"


def _run(command: list[str]) -> tuple[float, float, float, dict[str, object]]:
    """(wall seconds, CPU seconds of it and its children, largest RssAnon of one process in MB, the summary)."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started, peak = time.monotonic(), 0.0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        while process.poll() is None:
            peak = max([peak, *_anonymous_mb(process.pid)])
            time.sleep(0.2)
        assert process.stdout is not None
        summary = json.loads(process.stdout.read())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert process.returncode == 0
    return time.monotonic() - started, cpu, peak, summary


def _anonymous_mb(pid: int) -> Iterator[float]:
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        for one in family:
            if one.name().startswith(("python", "ray::")):
                status = Path(f"/proc/{one.pid}/status").read_text()
                yield from (int(line.split()[1]) / 1000 for line in status.splitlines() if line.startswith("RssAnon:"))
    except (psutil.Error, OSError):  # it ended meanwhile
        return


def _digests(out: Path) -> list[str]:
    return [digest_file(path) for path in sorted(out.rglob("*")) if path.suffix in (".parquet", ".jsonl", ".json")]


def test_documents_a_second(crawl: list[str], tmp_path: Path) -> None:
    _, idle, _, _ = _run([sys.executable, "-c", "import ulmfit_dist.crawl.ingest\nprint({})"])
    wall, cpu, memory, summary = _run([sys.executable, "-c", RUN, str(tmp_path / "out"), *crawl])
    rate = int(str(summary["records"])) / (cpu - idle)
    print(f"\n{summary['records']} pages in {cpu:.0f} CPU s, {wall:.0f} s: {rate:.0f} documents a CPU second")
    print(f"largest process {memory:.0f} MB; {summary['decisions']}\n{summary['crawl']}")
    assert rate >= MIN_DOCUMENTS_A_SECOND
    assert memory <= LIMIT_MB


@pytest.mark.skipif(not PEER, reason="no $ULMFIT_DATATROVE")
def test_beside_datatrove(tmp_path: Path) -> None:
    (tmp_path / "warc").mkdir()
    pages = _packed(tmp_path / "warc", PEER_PAGES)
    _, idle, _, _ = _run([sys.executable, "-c", "import ulmfit_dist.crawl.ingest\nprint({})"])
    rates, peer_script = [], Path(__file__).with_name("datatrove_peer.py")
    for turn in range(2):
        _, cpu, _, summary = _run([sys.executable, "-c", RUN, str(tmp_path / f"ours-{turn}"), *pages])
        out = str(tmp_path / f"peer-{turn}")
        _, _, _, peer = _run([PEER, str(peer_script), str(tmp_path / "warc"), out])
        ours, its = (
            int(str(summary["records"])) / (cpu - idle),
            float(str(peer["records"])) / float(str(peer["cpu_s"])),
        )
        rates.append(ours / its)
        print(
            f"\n{summary['records']} pages: {ours:.0f} documents a CPU second, datatrove {its:.1f}: {ours / its:.1f}x"
        )
        print(f"kept: {summary['decisions']}; datatrove {peer['kept']} of {peer['records']}")
    assert max(rates) >= MIN_TIMES_PEER


def test_workers(crawl: list[str], tmp_path: Path) -> None:
    seconds, digests = {}, []
    for workers in (1, 2, 3):
        out = tmp_path / str(workers)
        command = [sys.executable, "-m", "ulmfit_dist", "ingest", *crawl, "--workers", str(workers), "--out", str(out)]
        seconds[workers], cpu, memory, _ = _run(command)
        print(
            f"\n{workers} workers: {seconds[workers]:.0f} s, {cpu:.0f} CPU s, largest process {memory:.0f} MB", end=""
        )
        digests.append([_digests(out / split) for split in ("train", "valid")])
    print(f"\ntwo workers are {seconds[1] / seconds[2]:.2f} times one, start of Ray included")
    assert digests[0] == digests[1] == digests[2]
