"""The extractor's process: the same text, and pages that hang, crash or swell it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ulmfit_dist.crawl.extract import extract_text
from ulmfit_dist.crawl.extractor import Extractor, ExtractorLimits

PAGE = "<html><body><nav>Menu</nav><main><p>" + "Ein Satz mit Ä und 漢字. " * 20 + "</p></main></body></html>"
# Every attribute is compared with all before it: 20,000 take 0.8 s, 200,000 more than a minute.
HANGING = "<div " + " ".join(f"a{n}" for n in range(150_000)) + ">x</div>"


def test_the_text_is_that_of_the_extractor_itself():
    with Extractor() as extractor:
        assert extractor.text(PAGE) == extract_text(PAGE) != ""
        assert extractor.text("") == extract_text("")
        assert extractor.text("a\0b" * 100_000) == extract_text("a\0b" * 100_000)


def test_trafilatura_runs_in_the_child_too():
    pytest.importorskip("trafilatura")
    page = PAGE.replace("</p>", "</p><p>" + "Und noch ein Absatz mit Text. " * 20 + "</p>")
    with Extractor(name="trafilatura") as extractor:
        assert extractor.text(page) == extract_text(page, "trafilatura") != extract_text(page)
        extractor._child.kill()
        extractor._child.wait()
        assert extractor.text(page) is None
        assert extractor.text(page) == extract_text(page, "trafilatura")


def test_a_page_that_hangs_the_extractor_costs_itself_alone():
    with Extractor(ExtractorLimits(cpu_s=0.5)) as extractor:
        assert extractor.text(PAGE)
        started = time.monotonic()
        assert extractor.text(HANGING) is None
        assert time.monotonic() - started < 20
        assert extractor.text(PAGE) == extract_text(PAGE)


def test_waiting_is_limited_too():
    with Extractor(ExtractorLimits(cpu_s=60, wall_s=0.5)) as extractor:
        assert extractor.text(HANGING) is None


def test_memory_is_limited():
    with Extractor(ExtractorLimits(memory_bytes=200 << 20)) as extractor:
        assert extractor.text("<p>x</p>" * 1_000_000) is None
        assert extractor.text(PAGE) == extract_text(PAGE)


@pytest.mark.parametrize("when", ["before", "between"])
def test_a_child_that_is_killed_is_started_again(when):
    with Extractor() as extractor:
        if when == "between":
            extractor.text(PAGE)
            os.kill(extractor._child.pid, signal.SIGKILL)
            extractor._child.wait()
            assert extractor.text(PAGE) is None
        assert extractor.text(PAGE) == extract_text(PAGE)
        child = extractor._child
    assert child.poll() is not None


def test_no_child_outlives_a_killed_parent():
    code = (
        "import sys, time; from ulmfit_dist.crawl.extractor import Extractor; e = Extractor(); e.text('<p>x');"
        "print(e._child.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        child = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
    for _ in range(200):
        try:
            if Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except FileNotFoundError:
            return
        time.sleep(0.05)
    pytest.fail("the child is still there")
