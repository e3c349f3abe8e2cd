"""What every tokenizer does, whatever its unit, and the folder it is kept in.

A tokenizer folder holds `tokenizer.json` (unit, recipe, fingerprint, digests of the other files; written last) and
`vocabulary.json` (word), or `spm.model` and `characters.json` (subword).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np

from ulmfit_dist.errors import DigestError, InputError
from ulmfit_dist.files import digest_file, read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ulmfit_dist.config import Settings

DESCRIPTION_NAME = "tokenizer.json"
_FORMAT = 1


class Encoded(NamedTuple):
    """One document as ids, and what bits per character need to be comparable between vocabularies.

    ids: uint32, one dimension, the first is bos_id. characters: code points of the raw text, before any rule.
    words: stretches of it between white space, as the tokenizer sees them. unknown: how many ids are unk_id.
    unknown_bits: bits that spell what those ids hide (spelling.CharacterModel).
    """

    ids: np.ndarray
    characters: int
    words: int
    unknown: int
    unknown_bits: float


class Tokenizer(Protocol):
    """A trained tokenizer. Equal fingerprints (32 hex digits) give equal ids for every text."""

    @property
    def unit(self) -> Literal["word", "subword"]:
        """`word` or `subword`."""

    @property
    def name(self) -> str:
        """Language, unit and size, for people."""

    @property
    def vocab_size(self) -> int:
        """Number of ids; every id is below it."""

    @property
    def unk_id(self) -> int:
        """The id of what the vocabulary does not hold."""

    @property
    def pad_id(self) -> int:
        """The id that fills unused cells of a batch; no text gives it."""

    @property
    def bos_id(self) -> int:
        """The id that every document begins with."""

    @property
    def fingerprint(self) -> str:
        """Identity of the map from text to ids."""

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Turn raw documents (rawtext.py) into ids, in order."""

    def encode_reference(self, texts: Sequence[str]) -> list[Encoded]:
        """Do as `encode`, by the libraries and the rules alone: what `encode`, which may use caches, has to equal."""

    def tokens(self, text: str) -> list[str]:
        """Return the tokens of one raw document as strings, one for each id, unknown ones as they are spelled."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return readable text for ids; special tokens are acted on or left out."""

    def save(self, folder: Path) -> None:
        """Write the tokenizer folder."""


def load_tokenizer(folder: Path) -> Tokenizer:
    """Open a tokenizer folder.

    Raises InputError if it is none, or if the installed libraries would give other ids than those it was made with;
    DigestError if a file is missing or changed.
    """
    path = folder / DESCRIPTION_NAME
    if not path.is_file():
        raise InputError(
            f"{folder} is not a tokenizer folder",
            found=f"no {DESCRIPTION_NAME}",
            do="name a folder that train-tokenizer wrote",
        )
    description = _read_description(path)
    for name, digest in description["files"].items():
        _check_digest(folder / name, digest)
    tokenizer = _open_unit(folder, description)
    _check_fingerprint(path, tokenizer, description)
    return tokenizer


def write_description(
    folder: Path, tokenizer: Tokenizer, recipe: Settings, files: Sequence[str], made_with: str
) -> None:
    """Write `tokenizer.json` over files that are already in the folder; `made_with` is the library and its version."""
    description = {
        "format": _FORMAT,
        "unit": tokenizer.unit,
        "name": tokenizer.name,
        "fingerprint": tokenizer.fingerprint,
        "vocab_size": tokenizer.vocab_size,
        "made_with": made_with,
        "recipe": recipe.model_dump(mode="json"),
        "files": {name: digest_file(folder / name) for name in files},
    }
    write_json(folder / DESCRIPTION_NAME, description)


def _read_description(path: Path) -> dict[str, Any]:
    try:
        description = dict(read_json(path))
        if description["format"] == _FORMAT and {"unit", "fingerprint", "made_with", "recipe", "files"} <= set(
            description
        ):
            return description
        found = f"format {description['format']!r}"
    except (ValueError, TypeError, KeyError) as error:
        found = repr(error)
    raise InputError(
        f"{path} is not a tokenizer description of format {_FORMAT}", found=found, do="train the tokenizer again"
    )


def _open_unit(folder: Path, description: dict[str, Any]) -> Tokenizer:
    # Here, not above: both units build on this module, and each brings a large library that the other does not need.
    if description["unit"] == "word":
        from ulmfit_dist.tokenization.word import open_word_tokenizer

        return open_word_tokenizer(folder, description["recipe"])
    from ulmfit_dist.tokenization.subword import open_subword_tokenizer

    return open_subword_tokenizer(folder, description["recipe"])


def _check_digest(path: Path, expected: str) -> None:
    found = digest_file(path) if path.is_file() else "no file"
    if found != expected:
        what = f"{path} is not the file its {DESCRIPTION_NAME} describes"
        raise DigestError(
            what, found=f"{found}, expected {expected}", do="copy the folder again or train the tokenizer again"
        )


def _check_fingerprint(path: Path, tokenizer: Tokenizer, description: dict[str, Any]) -> None:
    made_with, expected = description["made_with"], description["fingerprint"]
    if tokenizer.fingerprint != expected:
        raise InputError(
            f"the tokenizer of {path.parent} would give other ids here than where it was made",
            found=f"made with {made_with}, fingerprint {tokenizer.fingerprint} instead of {expected}",
            do=f"install {made_with}, or train the tokenizer and its models again",
        )
