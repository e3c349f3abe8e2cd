"""WARC files made by hand, byte by byte as the standard says: the reader is not tested against its own writer."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

ENGLISH = (
    "The museum opened its doors to the public in the spring of that year, and the people of the town came to see "
    "what had been collected over three generations of careful work by the family who had founded it. "
)


def record(kind: str, number: int, block: bytes, uri: str = "", media: str = "") -> bytes:
    headers = [
        "WARC/1.0",
        f"WARC-Type: {kind}",
        f"WARC-Target-URI: {uri or f'http://example.org/{number}'}",
        f"WARC-Record-ID: <urn:uuid:{number}>",
        "WARC-Date: 2024-04-25T16:24:44Z",
        f"Content-Type: {media or 'application/http; msgtype=response'}",
        f"Content-Length: {len(block)}",
    ]
    return "\r\n".join(headers).encode() + b"\r\n\r\n" + block + b"\r\n\r\n"


def response(body: bytes, status: str = "200 OK", media: str = "text/html; charset=utf-8", extra: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {media}\r\n{extra}\r\n".encode() + body


def html(text: str) -> bytes:
    return f"<html><head><title>t</title></head><body><article><p>{text}</p></article></body></html>".encode()


@pytest.fixture
def warc() -> Any:
    """Makers of WARC bytes: record, response, html, `pages(texts)` -> records, `packed(records)` -> gzip a record."""

    class Maker:
        record = staticmethod(record)
        response = staticmethod(response)
        html = staticmethod(html)
        english = ENGLISH

        @staticmethod
        def pages(texts: list[str]) -> list[bytes]:
            return [record("response", number, response(html(text))) for number, text in enumerate(texts)]

        @staticmethod
        def packed(records: list[bytes]) -> bytes:
            return b"".join(gzip.compress(one, mtime=0) for one in records)

    return Maker
