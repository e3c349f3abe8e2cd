"""Sites and blocklists."""

from __future__ import annotations

import pytest

from ulmfit_dist.corpus.documents import Document
from ulmfit_dist.crawl.sites import Blocklist, read_blocklist, site_of
from ulmfit_dist.errors import InputError


@pytest.mark.parametrize(
    ("url", "site"),
    [
        ("http://www.example.org/a", "example.org"),
        ("https://a.b.Example.org:8080/x?y", "example.org"),
        ("http://news.bbc.co.uk/", "bbc.co.uk"),
        ("http://www.uni.ac.at/", "uni.ac.at"),
        ("http://t.co/", "t.co"),
        ("http://www.heise.de/", "heise.de"),
        ("http://192.0.2.7/a", "192.0.2.7"),
        ("http://[2001:db8::1]/a", "2001:db8::1"),
        ("http://localhost/", "localhost"),
        ("", ""),
        ("http://[broken/", ""),
    ],
)
def test_the_registered_domain(url, site):
    assert site_of(url) == site


def document(url, key="k"):
    return Document(id="0123456789abcdef" * 2, text="t", url=url, source=f"c.warc#{key}")


@pytest.mark.parametrize(
    ("entry", "blocked"),
    [
        ("example.org", True),
        ("*.EXAMPLE.org", True),
        ("sub.example.org", True),
        ("xample.org", False),
        ("other.example.org", False),
        ("https://sub.example.org/page/", True),
        ("sub.example.org/page", True),
        ("sub.example.org/pag", False),
        ("0123456789abcdef" * 2, True),
        ("<urn:uuid:7>", True),
        ("urn:uuid:8", False),
    ],
)
def test_what_a_list_blocks(entry, blocked):
    assert Blocklist([entry]).has(document("http://sub.example.org/page", "urn:uuid:7")) is blocked


def test_lists_are_read_whatever_their_order(tmp_path):
    (tmp_path / "a").write_text("# ours\nb.org\n\n a.org \n")
    (tmp_path / "b").write_text("a.org\n")
    assert read_blocklist([tmp_path / "a", tmp_path / "b"]) == ["a.org", "b.org"]
    assert not Blocklist([])
    with pytest.raises(InputError, match="cannot read blocklist"):
        read_blocklist([tmp_path / "none"])
