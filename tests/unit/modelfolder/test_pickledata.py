"""A pickle read as data gives what unpickling gives for plain values, and refuses the rest without running it."""

from __future__ import annotations

import io
import pickle
import re
import time
import tracemalloc
from collections import Counter, OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmfit_dist.errors import InputError
from ulmfit_dist.modelfolder import pickledata
from ulmfit_dist.modelfolder.pickledata import Made, Name, PickleRules, read_pickle

KEYS = st.text() | st.integers() | st.none() | st.booleans()
VALUES = st.recursive(
    KEYS | st.floats(allow_nan=False) | st.integers(-(2**600), 2**600),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner) | st.tuples(),
    max_leaves=30,
)


def no_outside(_):
    raise ValueError("nothing lies outside")


NONE = PickleRules(lambda dotted: False, no_outside)
ALL = PickleRules(lambda dotted: True, no_outside)


def read(content, rules=NONE):
    return read_pickle(io.BytesIO(content), "file.pkl", rules)


@given(value=VALUES, protocol=st.integers(0, 5))
def test_plain_values_are_those_of_unpickling(value, protocol):
    assert read(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", range(6))
def test_calls_become_records(protocol):
    made = read(pickle.dumps([OrderedDict(b=1, a=[2]), Counter("aab")], protocol), ALL)
    assert made[0] == {"b": 1, "a": [2]}
    assert list(made[0]) == ["b", "a"]
    assert isinstance(made[1], Made)
    assert made[1].name == "collections.Counter"
    assert made[1].args == ({"a": 2, "b": 1},)


def test_a_name_is_never_imported():
    assert read(b"\x80\x02cthis_module_does_not_exist\nthing\n.", ALL) == Name("this_module_does_not_exist.thing")


def test_names_of_python_2_are_those_of_python_3():
    assert read(pickle.dumps(getattr, 2), ALL) == read(pickle.dumps(getattr, 4), ALL) == Name("builtins.getattr")


def test_one_pickle_after_the_other():
    stream = io.BytesIO(pickle.dumps([1], 2) + pickle.dumps("two", 4) + b"rest")
    assert read_pickle(stream, "file", NONE) == [1]
    assert read_pickle(stream, "file", NONE) == "two"
    assert stream.read() == b"rest"


@pytest.mark.parametrize("protocol", range(5))
def test_every_truncation_is_refused(protocol):
    content = pickle.dumps(["a", ("b", 2.5, None), {"c": [1, True]}], protocol)
    for length in range(len(content)):
        with pytest.raises(InputError, match=r"file\.pkl is refused; nothing in it was run"):
            read(content[:length])


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"cos\nsystem\n.", r"'os\.system'"),
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93.", r"'posix\.system'"),
        (b"(S'echo'\nios\nsystem\n.", "opcode INST"),
        (b"(cos\nsystem\nS'echo'\no.", "OBJ|os.system"),
        (b"\x82\x01.", "opcode EXT1"),
        (b"P1\n.", "opcode PERSID"),
        (b"NQ.", "nothing lies outside"),
        (b"N0N.", "opcode POP"),
        (b"NN.", "contradicts"),
        (b".", "contradicts"),
        (b"h\x07.", "contradicts"),
        (b"N.", None),
        (b"NNs.", "contradicts"),
        (b"]NNs.", "list where"),
        (b"}Na.", "dict where"),
        (b"}]Ns.", "key of type list"),
        (b"})Ns.", "key of type tuple"),
        (b"K\x01)R.", "int where"),
        (b"]}b.", "list where"),
        (b"\x85.", "contradicts"),
        (b"a.", "contradicts"),
        (b"e.", "contradicts"),
        (b"\xff.", "contradicts"),
        (b"", "contradicts"),
    ],
)
def test_what_no_writer_makes(content, found):
    if found is None:
        assert read(content) is None
        return
    with pytest.raises(InputError) as raised:
        read(content)
    assert re.search(found, raised.value.found)


@pytest.mark.parametrize(
    "content",
    [
        b"\x8d" + (2**60).to_bytes(8, "little") + b"abc.",  # a string of 2^60 bytes
        b"\x8b" + (2**31 - 1).to_bytes(4, "little") + b"abc.",  # a number of 2^31 bytes
        b"L" + b"9" * 1_000_000 + b"L\n.",  # a number that takes a square of time to read
        b"]r\xfe\xff\xff\x7fr\xff\xff\xff\xffcos\nsystem\n.",  # the last places of a memo of 2^32
        b"})" + b"".join(b"q%ch%c\x86" % (n, n) for n in range(60)) + b"Ns.",
    ],
    ids=["string", "number", "digits", "memo", "hash"],
)
def test_declared_sizes_cost_nothing(content):
    tracemalloc.start()
    started = time.process_time()
    try:
        with pytest.raises(InputError):
            read(content)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    assert time.process_time() - started < 5


def test_a_pickle_that_is_too_long(monkeypatch):
    monkeypatch.setattr(pickledata, "_MOST_BYTES", 1000)
    assert len(read(pickle.dumps(["a"] * 300))) == 300
    with pytest.raises(InputError, match="a pickle of more than"):
        read(pickle.dumps([str(number) for number in range(300)]))
