"""A crawled page becomes a document: decoded, extracted, normalised; what stands in the way becomes its reason."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from ulmfit_dist.corpus.documents import DROP, Document, document_id
from ulmfit_dist.crawl.decode import decode
from ulmfit_dist.crawl.extractor import Extractor
from ulmfit_dist.crawl.normalise import normalise, squeeze
from ulmfit_dist.tokenization.rawtext import join_fields

if TYPE_CHECKING:
    from ulmfit_dist.crawl.extract import ExtractorName
    from ulmfit_dist.crawl.warc import Page


def page_document(page: Page, source: str, extractor: ExtractorName = "resiliparse") -> tuple[Document, str]:
    """Return the document of a page of the source named `source`, and the codec that read it, "" where none did.

    A page that gives no text is dropped: too_large, undecodable, extraction_failed (it took the extractor's process
    with it).
    """
    empty = Document(
        id=document_id(source, page.key), text="", url=page.url, date=page.date, source=f"{source}#{page.key}"
    )
    if page.flaw:
        return replace(empty, decision=DROP, reason=page.flaw), ""
    decoded = decode(page.body, page.charset)
    if decoded is None:
        return replace(empty, decision=DROP, reason="undecodable"), ""
    # Before extraction, since a lone surrogate or a NUL stops resiliparse.
    text = normalise(decoded.text)
    extracted = _extractor(extractor).text(text) if page.is_html else text
    if extracted is None:
        return replace(empty, decision=DROP, reason="extraction_failed"), decoded.charset
    return replace(empty, text=join_fields([squeeze(extracted)])), decoded.charset


@cache
def _extractor(name: ExtractorName) -> Extractor:
    # One child as long as this process: starting it takes as long as some two hundred pages.
    return Extractor(name=name)
