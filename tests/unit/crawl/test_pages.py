"""Pages as documents, with the reason where they give none."""

from __future__ import annotations

from ulmfit_dist.corpus.documents import document_id
from ulmfit_dist.crawl.pages import page_document
from ulmfit_dist.crawl.warc import Page

LONG = "A sentence of the article that is long enough to be its main content, and more. " * 3


def page(body, **fields):
    return Page(
        **{
            "key": "urn:uuid:1",
            "url": "http://x/",
            "date": "2024",
            "is_html": True,
            "charset": None,
            "body": body,
            **fields,
        }
    )


def test_a_page_is_its_text_with_where_and_when():
    document, charset = page_document(page(f"<main><p>{LONG}\u202e\0</p></main>".encode()), "c.warc.gz")
    assert document.text == LONG.strip()
    assert (document.url, document.date, document.source) == ("http://x/", "2024", "c.warc.gz#urn:uuid:1")
    assert document.id == document_id("c.warc.gz", "urn:uuid:1")
    assert (document.decision, document.lang, charset) == ("keep", "", "utf-8")


def test_plain_text_is_not_taken_for_html():
    document, _ = page_document(page(b"1 < 2 <b>kept</b>\n\n\n\nend", is_html=False), "c")
    assert document.text == "1 < 2 <b>kept</b>\n\nend"


def test_reasons():
    too_large = page_document(page(b"", flaw="too_large"), "c")
    undecodable = page_document(page(b"\xef\xbb\xbf" + b"\xff\xfe\xfa" * 40), "c")
    assert [(d.decision, d.reason, d.text, charset) for d, charset in (too_large, undecodable)] == [
        ("drop", "too_large", "", ""),
        ("drop", "undecodable", "", ""),
    ]
