"""A crawled page becomes a document: decoded, extracted, normalised; what stands in the way becomes its reason."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ulmfit_dist.corpus.documents import DROP, Document, document_id
from ulmfit_dist.crawl.decode import decode
from ulmfit_dist.crawl.extract import extract_text
from ulmfit_dist.crawl.normalise import normalise, squeeze
from ulmfit_dist.tokenization.rawtext import join_fields

if TYPE_CHECKING:
    from ulmfit_dist.crawl.warc import Page


def page_document(page: Page, source: str) -> Document:
    """Return the document of a page of the source named `source`; dropped, without text, when it gives none.

    Reasons: too_large, undecodable.
    """
    empty = Document(
        id=document_id(source, page.key), text="", url=page.url, date=page.date, source=f"{source}#{page.key}"
    )
    if page.flaw:
        return replace(empty, decision=DROP, reason=page.flaw)
    text = decode(page.body, page.charset)
    if text is None:
        return replace(empty, decision=DROP, reason="undecodable")
    # Before extraction, since a lone surrogate or a NUL stops resiliparse.
    text = normalise(text)
    return replace(empty, text=join_fields([squeeze(extract_text(text) if page.is_html else text)]))
