"""Boilerplate: lines on many pages of one site go, the same lines elsewhere stay, however the counts are cut."""

from __future__ import annotations

import pytest

from ulmfit_dist.crawl import boilerplate as boilerplate_module
from ulmfit_dist.crawl.boilerplate import Boilerplate, LineCounts, line_items, make_line_writer, site_hash

SITE, OTHER = site_hash("example.org"), site_hash("example.com")


def survey(folder, pieces, least=(10, 0.2)):
    """The boilerplate of pieces of (site, text)."""
    paths = []
    for number, pages in enumerate(pieces):
        counts = LineCounts()
        for site, text in pages:
            counts.add(site, text)
        paths.append(folder / f"{number}.lines")
        counts.save(paths[-1])
    items = line_items(paths)
    write = make_line_writer(paths, folder, *least)
    for item in items:
        write(item)
    return Boilerplate(folder, len(items))


def pages(site, count, line):
    return [(site, f"Own line {chr(97 + n)} of it\n{line.format(n)}\nOwn end {chr(97 + n)}") for n in range(count)]


@pytest.mark.parametrize("bucket_lines", [1 << 22, 5])
def test_lines_of_many_pages_of_a_site_go(tmp_path, monkeypatch, bucket_lines):
    monkeypatch.setattr(boilerplate_module, "BUCKET_LINES", bucket_lines)
    known = survey(
        tmp_path, [pages(SITE, 6, "Page {} of 9"), pages(SITE, 6, "PAGE {} of 9"), pages(OTHER, 3, "Page {} of 9")]
    )
    assert known.clean("Keep this\n page 77 OF 9 \n\nand this", SITE) == ("Keep this\n\nand this", 1)
    assert known.clean("Keep this\nPage 1 of 9", OTHER) == ("Keep this\nPage 1 of 9", 0)
    assert known.clean("Keep this\nPage 1 of 9", site_hash("")) == ("Keep this\nPage 1 of 9", 0)
    assert known.clean("page 3 of 9\npage 4 of 9", SITE) == ("", 2)


def test_a_line_twice_on_a_page_is_one_page(tmp_path):
    known = survey(tmp_path, [[(SITE, "the line\n" * 30), *pages(SITE, 8, "the line")]])
    assert known.clean("the line\nx", SITE) == ("the line\nx", 0)


def test_a_small_share_of_a_large_site_stays(tmp_path):
    many = pages(SITE, 12, "rare line") + [(SITE, f"page {n} {chr(1000 + n)}") for n in range(60)]
    assert survey(tmp_path, [many]).clean("rare line\nx", SITE)[1] == 0
    assert survey(tmp_path, [many], (10, 0.1)).clean("rare line\nx", SITE)[1] == 1


def test_empty_lines_are_none(tmp_path):
    known = survey(tmp_path, [[(SITE, f"a{chr(1000 + n)}\n\nb") for n in range(20)]])
    assert known.clean("x\n\ny\nb", SITE) == ("x\n\ny", 1)


def test_nothing_read_is_nothing_known(tmp_path):
    assert survey(tmp_path, [[]]).clean("a\nb", SITE) == ("a\nb", 0)
