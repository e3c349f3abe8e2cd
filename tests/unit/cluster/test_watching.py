"""The live page: served to loopback only, with what the run's files say; in a browser where there is one."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from run_files import make_run, own, progress, tell

from ulmfit_dist.cluster.watching import watch_server
from ulmfit_dist.errors import InputError

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "quick <run>"
    make_run(folder)
    tell(folder, 1.0, "stage-skipped", name="ingest", fingerprint="ingest-1")
    tell(folder, 2.0, "stage-started", name="pretrain", fingerprint="pretrain-1", attempt=1)
    tell(folder, 3.0, "stage-placed", stage="pretrain", host="<b>node7</b>", pid=5)
    for step, loss in enumerate((7.0, 6.0, 5.5)):
        tell(folder, 4.0 + step, "point", stage="pretrain", step=step, tokens=step * 10, loss=loss)
    progress(folder, "pretrain", 7.0, done=42, total=100, loss=5.5, tokens_per_s=12345.6)
    own(folder)
    return folder


def test_the_page_and_its_numbers_come_over_http(run: Path) -> None:
    with watch_server(run, 0) as address:
        with urllib.request.urlopen(address) as answer:
            page = answer.read().decode()
            policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "http" not in page.replace("http://www.w3.org/2000/svg", ""), "it brings along all that it needs"
        status = json.load(urllib.request.urlopen(f"{address}status.json"))
        assert (status["state"], status["stages"][1]["share"]) == ("running", 0.42)
        progress(run, "pretrain", 8.0, done=43, total=100, loss=5.4, tokens_per_s=12345.6)
        assert json.load(urllib.request.urlopen(f"{address}status.json"))["stages"][1]["share"] == 0.43
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{address}../events.jsonl")
    with pytest.raises(urllib.error.URLError, match="refused"):
        urllib.request.urlopen(address)


def test_only_this_machine_can_ask_and_only_by_its_own_name(run: Path) -> None:
    with watch_server(run, 0) as address:
        port = urlsplit(address).port
        (listening,) = {c.laddr.ip for c in psutil.Process().net_connections() if c.laddr.port == port and not c.raddr}
        assert listening == "127.0.0.1"
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/status.json", headers={"Host": f"rebound.example:{port}"})
        assert connection.getresponse().status == 403
        with pytest.raises(InputError, match=f"cannot serve on port {port}"), watch_server(run, port or 0):
            pass


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
def test_a_browser_shows_the_run(run: Path, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    with watch_server(run, 0) as address:
        shown = subprocess.run(
            [*command, "--virtual-time-budget=5000", "--dump-dom", address],
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        ).stdout
    assert "<title>running: quick &lt;run&gt;</title>" in shown
    assert "<td>pretrain</td><td>running</td><td>&lt;b&gt;node7&lt;/b&gt;</td>" in shown, "text of a run is no markup"
    assert "12,346" in shown
    assert "42 %" in shown
    assert 'points="0.00,1.00 50.00,13.00 100.00,19.00"' in shown
    assert '<p id="lost" hidden="">' in shown
