"""Lines: each belongs to one range, with the number that it has in the file."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ulmfit_dist.corpus import lines as lines_module
from ulmfit_dist.corpus.compression import OpenedFile
from ulmfit_dist.corpus.lines import count_lines, numbered_lines


def in_ranges(path, cuts):
    """(number, line) of every line, range by range, and each range's line ends."""
    out, counts = [], []
    starts = [0, *cuts]
    for start, stop in zip(starts, [*cuts, None], strict=True):
        with OpenedFile(path, start, stop) as file:
            lines = numbered_lines(file, sum(counts))
            out += [(line.number, line.data) for line in lines if line.within]
        with OpenedFile(path, start, stop) as file:
            counts.append(count_lines(file))
    return out, counts


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.lists(st.sampled_from([b"\n", b"a", b"bc\n", b"def"]), max_size=12).map(b"".join),
    cuts=st.sets(st.integers(1, 20)),
)
def test_any_cut_of_a_plain_file_gives_the_same_numbered_lines(tmp_path, data, cuts):
    path = tmp_path / "data"
    path.write_bytes(data)
    found, counts = in_ranges(path, sorted(cut for cut in cuts if cut < len(data)))
    assert found == list(enumerate(data.splitlines(keepends=True), 1))
    assert sum(counts) == data.count(b"\n")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.lists(st.sampled_from([b"\n", b"a", b"bc\n", b"def"]), max_size=4).map(b"".join), min_size=1, max_size=5
    )
)
def test_any_cut_between_members_gives_the_same_numbered_lines(tmp_path, texts):
    path = tmp_path / "data"
    members = [gzip.compress(text) for text in texts]
    path.write_bytes(b"".join(members))
    cuts = [sum(map(len, members[:index])) for index in range(1, len(members))]
    found, counts = in_ranges(path, cuts)
    assert found == list(enumerate(b"".join(texts).splitlines(keepends=True), 1))
    assert counts == [text.count(b"\n") for text in texts]


def test_of_an_endless_line_only_the_start_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr(lines_module, "MAX_RECORD_BYTES", 10)
    (tmp_path / "data").write_bytes(b"x" * 1000 + b"\nshort\n0123456789\n" + b"y" * 30)
    with OpenedFile(tmp_path / "data") as file:
        assert [line.data for line in numbered_lines(file, 0)] == [b"x" * 11, b"short\n", b"0123456789\n", b"y" * 11]


@pytest.mark.parametrize("cut", [1, 60])
def test_of_a_cut_file_the_readable_line_ends_are_counted(tmp_path, cut):
    text = b"".join(b"%d\n" % number for number in range(50_000))
    (tmp_path / "data").write_bytes(gzip.compress(text)[:-cut])
    with OpenedFile(tmp_path / "data") as file:
        assert 49_000 < count_lines(file) <= 50_000
