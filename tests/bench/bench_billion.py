"""A rehearsal at a billion words: count, vocabulary, tokenize in both units, verify; time, disk, memory.

    pytest -m slow -s tests/bench/bench_billion.py

wiki_en over and over; in each copy one word in 160 is changed by the copy's number, which gives about as many new
chunks as new text does (eight million in a billion words). Needs ULMFIT_DATA (default ~/data) with lm_wiki_en_2015/,
20 GB in TMPDIR and, on two cores, half an hour. ULMFIT_WORDS makes it smaller, ULMFIT_BILLION names a folder that keeps
the documents for the next time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ulmfit_dist.corpus.documents import MANIFEST_NAME, Document, document_id, read_manifest, write_documents
from ulmfit_dist.files import read_json

pytestmark = [pytest.mark.slow, pytest.mark.timeout(14400)]
WIKI = Path(os.environ.get("ULMFIT_DATA", Path.home() / "data")) / "lm_wiki_en_2015"
WORDS = int(os.environ.get("ULMFIT_WORDS", "1000000000"))
WORDS_A_COPY = 65_050_000
EVERY = 160
ITEM_CHARACTERS = 32_000_000


def _articles() -> Iterator[str]:
    for path in sorted(WIKI.iterdir()):
        for block in path.read_text(encoding="utf-8").split("</doc>\n"):
            if block.startswith("<doc"):
                yield block.partition(">\n")[2]


def _documents(copies: int) -> Iterator[Document]:
    for copy in range(copies):
        for number, text in enumerate(_articles()):
            words = text.split(" ")
            for place in range((number + 7 * copy) % EVERY, len(words), EVERY):
                words[place] += f"{copy}x{(number * 31 + place) % 9973}" if copy else ""
            yield Document(document_id(f"copy-{copy}", str(number)), " ".join(words))


class _Memory:
    """The largest anonymous memory of one process below a command, polled once a second."""

    def __init__(self, pid: int) -> None:
        self.largest = 0
        self._root, self._stop = psutil.Process(pid), threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> int:
        self._stop.set()
        self._thread.join()
        return self.largest

    def _watch(self) -> None:
        while not self._stop.wait(1):
            for process in self._processes():
                for line in _status(process.pid):
                    if line.startswith("RssAnon"):
                        self.largest = max(self.largest, int(line.split()[1]) * 1024)

    def _processes(self) -> list[psutil.Process]:
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


def _status(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return []


def _run(what: str, *arguments: object) -> None:
    started = time.perf_counter()
    command = [sys.executable, "-m", "ulmfit_dist", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        memory = _Memory(process.pid)
        code = process.wait()
    largest = memory.stop()
    seconds = time.perf_counter() - started
    print(f"{what}: {seconds:.0f} s, largest anonymous memory of a process {largest / 1e6:,.0f} MB", flush=True)
    assert code == 0
    assert largest < 1.5e9


def _size(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e9


def _made_documents(folder: Path) -> None:
    started = time.perf_counter()
    copies = max(1, round(WORDS / WORDS_A_COPY))
    manifest = write_documents(folder, _documents(copies), ITEM_CHARACTERS)
    print(f"\ndocuments: {manifest.kept:,}, {manifest.characters:,} characters, {_size(folder):.1f} GB")
    print(f"written in {time.perf_counter() - started:.0f} s", flush=True)


def test_a_billion_words(tmp_path):
    if not WIKI.is_dir():
        pytest.skip(f"no {WIKI}")
    if shutil.disk_usage(tmp_path).free < 20 * WORDS:
        pytest.skip(f"no room in {tmp_path}")
    documents = Path(os.environ.get("ULMFIT_BILLION", tmp_path)) / "documents"
    if not (documents / MANIFEST_NAME).is_file():
        _made_documents(documents)
    for unit, recipe in (("word", "en/word_60k"), ("subword", "en/sp_30k")):
        tokenizer, stream = tmp_path / f"tokenizer-{unit}", tmp_path / unit
        _run(f"train-tokenizer {unit}", "train-tokenizer", documents, "--recipe", recipe, "--out", tokenizer)
        _run(f"tokenize {unit}", "tokenize", documents, "--tokenizer", tokenizer, "--out", stream)
        _run(f"verify {unit}", "verify", stream, "--retokenize", 20)
        made = read_json(stream / "manifest.json")
        print(f"{unit}: {made['tokens']:,} tokens, {made['words']:,} words, unknown {made['unknown_rate']:.2%}")
        print(f"{len(made['shards'])} shards, {_size(stream):.1f} GB; tokenizer folder {_size(tokenizer):.2f} GB")
        if unit == "word":
            parts = read_json(tokenizer / "chunks" / "table.json")["parts"]
            chunks, occurrences = (sum(part[key] for part in parts) for key in ("chunks", "occurrences"))
            print(f"{chunks:,} distinct of {occurrences:,} chunks: {chunks / occurrences:.2%}")
        assert made["documents"] == read_manifest(documents).kept
        shutil.rmtree(stream)
