"""A crawl of many languages: documents a CPU second and memory of a worker, and the same result from 1, 2, 3 workers.

    ULMFIT_HTML=folder ULMFIT_DATATROVE=python pytest -m slow -s tests/bench/bench_crawl.py

$ULMFIT_HTML (default ~/data/html) holds HTML files, such as those of unpacked Debian packages (`apt-get download
libreoffice-help-de libreoffice-help-fi libreoffice-help-tr debian-handbook`, then `dpkg -x`); they are packed as WARC
files of 2,000 pages. CPU seconds count all processes of the command and not the start of an interpreter.
$ULMFIT_DATATROVE is an interpreter that has datatrove (datatrove_peer.py): it is run on $ULMFIT_PEER_PAGES (1,000) of
the pages, evenly over all, first each side with its defaults, then ours with trafilatura as its extractor (needs that
package); both times with MinHash and the loading of our models. A rate is of the pages given, whatever a side reads of
them: datatrove's reader passes over some.
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
TURNS = int(os.environ.get("ULMFIT_TURNS", "2"))
PEER_PAGES = int(os.environ.get("ULMFIT_PEER_PAGES", "1000"))
MIN_DOCUMENTS_A_SECOND = 120
MIN_TIMES_PEER = {"resiliparse": 6.0, "trafilatura": 1.3}
MIN_TIMES_ONE_WORKER = 1.8
LIMIT_MB = 600
RUN = """
import json, sys, time
from pathlib import Path
from ulmfit_dist.crawl.ingest import ingest
from ulmfit_dist.crawl.pages import _extractor
from ulmfit_dist.crawl.settings import IngestSettings
from ulmfit_dist.events import Silent
from ulmfit_dist.stage import StageCall
out, extractor, *sources = sys.argv[1:]
settings = IngestSettings(sources=sources, splits={"train": 1.0}, crawl={"extractor": extractor})
print(json.dumps(ingest(StageCall(settings, {}, Path(out), Silent()))))
_extractor(settings.crawl.extractor).close()  # waited for, so that its CPU seconds are counted
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
    # A folder of a package is a site: with one site in all, every document would fall in the same split.
    path = page.relative_to(HTML)
    url = f"http://{'-'.join([path.parts[0], *path.parts[-3:-1]])}.example/{path}"
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
    wall, cpu, memory, summary = _run([sys.executable, "-c", RUN, str(tmp_path / "out"), "resiliparse", *crawl])
    rate = int(str(summary["records"])) / (cpu - idle)
    print(f"\n{summary['records']} pages in {cpu:.0f} CPU s, {wall:.0f} s: {rate:.0f} documents a CPU second")
    print(f"largest process {memory:.0f} MB; {summary['decisions']}\n{summary['crawl']}")
    assert rate >= MIN_DOCUMENTS_A_SECOND
    assert memory <= LIMIT_MB


@pytest.mark.skipif(not PEER, reason="no $ULMFIT_DATATROVE")
@pytest.mark.parametrize("extractor", MIN_TIMES_PEER)
def test_beside_datatrove(extractor: str, tmp_path: Path) -> None:
    pytest.importorskip(extractor)
    (tmp_path / "warc").mkdir()
    pages = _packed(tmp_path / "warc", PEER_PAGES)
    _, idle, _, _ = _run([sys.executable, "-c", "import ulmfit_dist.crawl.ingest\nprint({})"])
    times, peer_script = [], Path(__file__).with_name("datatrove_peer.py")
    for turn in range(TURNS):
        command = [sys.executable, "-c", RUN, str(tmp_path / f"ours-{turn}"), extractor, *pages]
        _, cpu, memory, summary = _run(command)
        out = str(tmp_path / f"peer-{turn}")
        _, _, _, peer = _run([PEER, str(peer_script), str(tmp_path / "warc"), out])
        given = int(str(summary["records"]))
        ours, its = given / (cpu - idle), given / float(str(peer["cpu_s"]))
        times.append(ours / its)
        print(
            f"\n{given} pages, {extractor}: {ours:.0f} documents a CPU second ({memory:.0f} MB), datatrove {its:.1f}: "
            f"{times[-1]:.2f}x; load average {os.getloadavg()[0]:.1f}"
        )
        print(
            f"kept: {summary['decisions']}; datatrove {peer['kept']} of the {peer['records']} that it read", flush=True
        )
    assert max(times) >= MIN_TIMES_PEER[extractor]


def test_workers(crawl: list[str], tmp_path: Path) -> None:
    seconds: dict[int, list[float]] = {1: [], 2: [], 3: []}
    digests = []
    # One and two by turns: what else the machine does must not fall on one of them.
    for turn, workers in enumerate((*(1, 2) * TURNS, 3)):
        out = tmp_path / str(turn)
        command = [sys.executable, "-m", "ulmfit_dist", "ingest", *crawl, "--workers", str(workers), "--out", str(out)]
        wall, cpu, memory, _ = _run(command)
        seconds[workers].append(wall)
        load = os.getloadavg()[0]
        print(
            f"\n{workers} workers: {wall:.0f} s, {cpu:.0f} CPU s, largest process {memory:.0f} MB, load {load:.1f}",
            end="",
        )
        digests.append([_digests(out / split) for split in ("train", "valid")])
    times = min(seconds[1]) / min(seconds[2])
    print(f"\ntwo workers are {times:.2f} times one, start of Ray included")
    assert all(one == digests[0] for one in digests)
    assert times >= MIN_TIMES_ONE_WORKER
