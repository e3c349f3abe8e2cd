"""Hostile pages in one WARC, each made byte by byte: every one has its row or its record, and the good ones stay."""

from __future__ import annotations

import gzip
import json

from ulmfit_dist.corpus.quarantine import Tally
from ulmfit_dist.crawl import pages as pages_module
from ulmfit_dist.crawl.extractor import Extractor, ExtractorLimits
from ulmfit_dist.crawl.pages import page_document
from ulmfit_dist.crawl.warc import WarcReader

WORDS = "The people of the town came to see what had been collected over three generations of careful work. " * 3
HANGING = b"<div " + b" ".join(b"a%d" % n for n in range(150_000)) + b">x</div>"


def member(number, body, *, headers="", media="text/html; charset=utf-8"):
    block = f"HTTP/1.1 200 OK\r\nContent-Type: {media}\r\n{headers}\r\n".encode() + body
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://x.org/{number}\r\n"
        f"WARC-Record-ID: <urn:uuid:{number}>\r\nContent-Type: application/http; msgtype=response\r\n"
        f"Content-Length: {len(block)}\r\n\r\n"
    )
    return gzip.compress(head.encode() + block + b"\r\n\r\n", compresslevel=1, mtime=0)


def html(text):
    return b"<html><body><main><p>" + text + b"</p></main></body></html>"


def test_every_page_is_accounted_for(tmp_path, monkeypatch):
    words = WORDS.encode()
    german = "Die Größe der Straße überraschte alle Gäste, und die Bürger sprachen für Jahre darüber. " * 3
    damaged = bytearray(member("damaged", html(words * 4)))
    damaged[40:60] = b"\xff" * 20
    members = {
        "good": member("good", html(words)),
        "deep": member("deep", b"<div>" * 100_000 + words),
        "bomb": member("bomb", gzip.compress(bytes(100_000_000)), headers="Content-Encoding: gzip\r\n"),
        "line": member("line", b"x" * 100_000_000),
        "hang": member("hang", HANGING),
        "charset": member("charset", html(german.encode("cp1252")), media="text/html; charset=utf-8"),
        "lying": member("lying", html(german.encode()), media="text/html; charset=koi8-r"),
        "nul": member("nul", html(b"\0".join([words, words]))),
        "bidi": member("bidi", html(words + "\u202eevil\u202c \u2066x\u2069".encode())),
        "surrogate": member("surrogate", html(words + b"\xed\xa0\x80")),
        "empty": member("empty", b""),
        "damaged": bytes(damaged),
        "after": member("after", html(words)),
    }
    data = b"".join(members.values()) + member("cut", html(words))[:-30]
    (tmp_path / "x.warc.gz").write_bytes(data)
    tally, told = Tally(), []
    tally.add = lambda *one: told.append(one)  # type: ignore[method-assign]
    with Extractor(ExtractorLimits(cpu_s=1.0)) as extractor:
        monkeypatch.setattr(pages_module, "_extractor", lambda name: extractor)
        pages = WarcReader(tmp_path / "x.warc.gz", tally)
        found = {page.key.rpartition(":")[2]: page_document(page, "x")[0] for page in pages}
    reasons = {key: document.reason for key, document in found.items() if document.decision == "drop"}
    assert reasons == {"bomb": "too_large", "line": "too_large", "hang": "extraction_failed"}
    assert set(members) - {"damaged"} <= set(found)
    assert [reason for _, _, reason, *_ in told] == ["damaged record", "cut file"]
    assert found["good"].text == found["after"].text == WORDS.strip()
    assert found["deep"].text == WORDS.strip()
    assert found["charset"].text == found["lying"].text == german.strip()
    assert found["empty"].text == ""
    assert "\0" not in found["nul"].text
    assert found["bidi"].text.endswith("evil x")
    assert found["surrogate"].text.startswith(WORDS.strip())
    json.dumps([document.text for document in found.values()]).encode()
    for document in found.values():
        document.text.encode()
