"""Vocabularies of the field: read as data, told apart by their special tokens, said in another rule set's words."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ulmfit_dist.errors import InputError
from ulmfit_dist.modelfolder.pickledata import Made, PickleRules, read_pickle, refused
from ulmfit_dist.modelfolder.torchfile import open_torch_file
from ulmfit_dist.tokenization.rules import rule_set

AWD_LSTM_LM = "awd-lstm-lm"
MEAN_ROW = -1
_MOST_BYTES = 64 << 20
_FILLER = "xxfake"  # fastai fills its vocabularies with it to a multiple of 8
_PIECE = "\u2581"
_XX = ("xxunk", "xxpad", "xxbos", "xxeos", "xxfld", "xxmaj", "xxup", "xxrep", "xxwrep")
# The same job in each generation: unknown, padding, document, end, field, capital, capitals, repeats, lines. A line in
# awd-lstm-lm ends with <eos>, so that stands before a document, after it and between lines.
_JOBS: dict[str, tuple[str | None, ...]] = {
    "fastai-0.7": ("_unk_", "_pad_", "xbos", None, "xfld", None, "t_up", "tk_rep", "tk_wrep", "\n"),
    "fastai-1": (*_XX, "\n"),
    "fastai-2": (*_XX, "\n"),
    "ulmfit-1": (*_XX, "xxnl"),
    AWD_LSTM_LM: ("<unk>", None, "<eos>", "<eos>", None, None, None, None, None, "<eos>"),
}


def read_itos(path: Path) -> list[str]:
    """Read a vocabulary in id order: a pickled list of strings, or the `corpus.*.data` of awd-lstm-lm.

    Raises InputError for anything else, for a token twice (fastai's filler excepted) and for SentencePiece pieces.
    """
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise InputError(f"cannot read {path}", found=error.strerror or str(error), do="check the path") from error
    # A zip archive, or the number that begins torch's older format.
    is_torch = head.startswith((b"PK", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."))
    value = _of_corpus(open_torch_file(path).value) if is_torch else _unpickled(path)
    if isinstance(value, Made) and isinstance(value.state, dict):  # fastcore's list
        value = value.state.get("items")
    if not isinstance(value, list) or not value or not all(isinstance(token, str) for token in value):
        raise refused(str(path), "no list of strings")
    _check_tokens(path, value)
    return value


def generation(itos: Sequence[str]) -> str:
    """Return whose special tokens a vocabulary has: a rule set's name or `awd-lstm-lm`.

    Raises InputError for a vocabulary of none of them.
    """
    if tuple(itos[:2]) == ("_unk_", "_pad_"):
        return "fastai-0.7"
    if tuple(itos[:2]) == ("xxunk", "xxpad"):
        if "xxnl" in itos[:10]:
            return "ulmfit-1"
        place = {token: index for index, token in enumerate(itos[:10])}
        return "fastai-2" if place.get("xxrep", 10) < place.get("xxmaj", 10) else "fastai-1"
    if {"<unk>", "<eos>"} <= set(itos):
        return AWD_LSTM_LM
    raise InputError(
        "the vocabulary has the special tokens of no known generation",
        found=f"it begins with {', '.join(map(ascii, itos[:4]))[:80]}",
        do="give the itos of fast.ai 2018 (_unk_, _pad_), fastai 1 or 2 (xxunk, xxpad), or awd-lstm-lm (<unk>, <eos>)",
    )


def translated(itos: Sequence[str], source: str, target: str) -> tuple[list[str], list[int]]:
    """Say a vocabulary in the words of a rule set: return its tokens and, for each, its row in `itos` or MEAN_ROW.

    In its own rule set it stays as it is, its order too; what the rules cannot do without is added at the end. In
    another, that one's special tokens come first, each with the row of the token that did its job, and one row may do
    several; the other tokens follow in their order.
    """
    rules = rule_set(target)
    if source == target:
        tokens, rows = list(itos), list(range(len(itos)))
    else:
        place = {token: index for index, token in reversed(list(enumerate(itos)))}
        before = dict(zip(_JOBS[target], _JOBS[source], strict=True))
        names = [name for name in _JOBS[target] if name is not None]
        tokens = list(dict.fromkeys([*rules.specials, *(name for name in names if before[name] in place)]))
        rows = [place.get(before.get(token) or token, MEAN_ROW) for token in tokens]
        used = {*tokens, *(name for name in _JOBS[source] if name), _FILLER}
        rest = [(token, index) for index, token in enumerate(itos) if token not in used]
        tokens += [token for token, _ in rest]
        rows += [index for _, index in rest]
    if rules.bos not in tokens:
        tokens.append(rules.bos)
        rows.append(MEAN_ROW)
    return tokens, rows


def renamed(itos: Sequence[str], source: str, target: str) -> list[str]:
    """Return a rule set's vocabulary with the special tokens of another, each in its place."""
    names = {old: new for old, new in zip(_JOBS[source], _JOBS[target], strict=True) if old and new}
    taken = set(itos)
    return [token if names.get(token, token) in taken else names[token] for token in itos]


def _unpickled(path: Path) -> Any:
    if path.stat().st_size > _MOST_BYTES:
        raise refused(str(path), f"{path.stat().st_size:,} bytes, too many for a vocabulary")
    stream = io.BytesIO(path.read_bytes())
    return read_pickle(stream, str(path), PickleRules(lambda dotted: dotted == "fastcore.foundation.L", _no_storages))


def _no_storages(_: Any) -> Any:
    raise ValueError("a persistent id in a vocabulary")


def _of_corpus(value: Any) -> Any:
    for name, inside in (("data.Corpus", "dictionary"), ("data.Dictionary", "idx2word")):
        if isinstance(value, Made) and value.name == name and isinstance(value.state, dict):
            value = value.state.get(inside)
    return value


def _check_tokens(path: Path, itos: list[str]) -> None:
    twice = [token for token, count in Counter(itos).items() if count > 1 and token != _FILLER]
    if twice:
        raise refused(str(path), f"the token {twice[0]!a:.40} twice")
    if sum(token.startswith(_PIECE) for token in itos) > len(itos) // 10:
        raise refused(str(path), "pieces of SentencePiece, not words; they need their own model")
    try:
        "".join(itos).encode()
    except UnicodeEncodeError as error:
        raise refused(str(path), "strings that are not Unicode text") from error
