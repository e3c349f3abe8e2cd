"""Load spaCy without torch, which its lower half, thinc, imports wherever it is installed: two seconds a process."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def torch_left_out() -> Iterator[None]:
    """Within the block torch cannot be imported, unless the process has it already, which then keeps it.

    None in sys.modules is Python's own sign for that. Whoever needs torch after the block gets it; only thinc's layers,
    which no tokenizer has, take it for missing. For the thread that loads a tokenizer and no other at that time.
    """
    if "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["torch"]
