"""Subword tokens: SentencePiece on raw text, without our rules: decode(encode(x)) is the model's normalisation of x.

xxunk, xxpad, xxbos, xxeos and xxfld are the model's ids 0-4, as in word vocabularies. They are control symbols, not
user-defined ones: SentencePiece never finds a control symbol in text, so a literal "xxbos" is spelled by other pieces.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from importlib import metadata
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import sentencepiece

from ulmfit_dist.errors import DataError
from ulmfit_dist.files import canonical_json, digest_bytes, fingerprint, read_json, write_bytes
from ulmfit_dist.tokenization.rawtext import FIELD_SEPARATOR, replace_lone_surrogates
from ulmfit_dist.tokenization.recipe import SubwordRecipe, parse_recipe
from ulmfit_dist.tokenization.sample import MAX_LINE_BYTES, sample_lines
from ulmfit_dist.tokenization.special import BOS_ID, EOS_ID, FLD_ID, PAD_ID, UNK_ID, XXBOS, XXEOS, XXFLD, XXPAD, XXUNK
from ulmfit_dist.tokenization.spelling import END, CharacterModel
from ulmfit_dist.tokenization.tokenizer import Encoded, write_description

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

MODEL_NAME = "spm.model"
CHARACTERS_NAME = "characters.json"
_BLANK = "\u2581"  # how SentencePiece writes a blank
_DOCUMENT_LAYOUT = 1  # raise when the ids around the model's own (xxbos, fields) change
_ERRORS_ONLY = 2
_BOS_FLD = np.array([BOS_ID, FLD_ID], np.int32)
_FLD, _NOTHING = _BOS_FLD[1:], _BOS_FLD[2:]
_ONE_FIELD = [_BOS_FLD[:1]]
# ASCII, Latin, Greek, Cyrillic: what most text is made of.
_SAFE_LETTERS = (0x09, 0x0A, 0x0D, *range(0x20, 0x300), *range(0x370, 0x483), *range(0x48A, 0x530))


class SubwordTokenizer:
    """A SentencePiece model. Implements the Tokenizer protocol; `characters` prices what the model has no piece for."""

    unit: Literal["subword"] = "subword"
    unk_id, pad_id, bos_id = UNK_ID, PAD_ID, BOS_ID

    def __init__(self, recipe: SubwordRecipe, model: bytes, characters: Mapping[str, int]) -> None:
        self.recipe, self.model, self.characters = recipe, model, dict(characters)
        self._pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
        self._spelling = CharacterModel(self.characters)
        self.vocab_size = int(self._pieces.vocab_size())
        # Words are counted by the pieces that begin one: cutting the text again would cost a fifth of the encoding.
        names = [self._pieces.id_to_piece(index) for index in range(self.vocab_size)]
        self._begins_word = np.array([name.startswith(_BLANK) for name in names], np.bool_)
        single = "".join(name for name in names if len(name) == 1)
        self._unknown_letters = re.compile(f"[^{re.escape(single)}]" if single else "(?s:.)").findall
        self._unsafe = self._find_unsafe_letters()
        self.name = f"{recipe.language}-subword-{self.vocab_size}"
        self.fingerprint = fingerprint({"unit": self.unit, "model": digest_bytes(model), "layout": _DOCUMENT_LAYOUT})

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Turn raw documents into ids, in order; two or more fields begin with xxfld and the pieces of their number."""
        if not texts:
            return []
        stretches = [_stretches(text) for text in texts]
        try:
            ids, starts = self._encode_flat(stretches)
        except (UnicodeEncodeError, TypeError):  # the second, "must be str", is how a list with a lone surrogate fails
            stretches = [_stretches(replace_lone_surrogates(text)) for text in texts]
            ids, starts = self._encode_flat(stretches)
        # Everything over all documents at once: an operation a document would cost a tenth of the encoding.
        begins = self._begins_word.take(ids, mode="clip")  # nothing to clip: checking every id takes twice as long
        words = np.add.reduceat(begins, starts[:-1], dtype=np.int64).tolist()
        unknown = np.diff(np.searchsorted(np.flatnonzero(ids == UNK_ID), starts)).tolist()
        both = zip(stretches, unknown, strict=True)
        bits = [self._unknown_bits(document, pieces) if pieces else 0.0 for document, pieces in both]
        own = [ids[start:end] for start, end in pairwise(starts.tolist())]
        return list(map(Encoded, own, map(len, texts), words, unknown, bits))

    def _encode_flat(self, stretches: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids of all documents one after another, and where each begins, with the end of the last."""
        # One call for all: SentencePiece encodes a list at 15 MB/s a core, a loop over documents costs 15 % more.
        encoded = self._pieces.encode_as_numpy(list(chain.from_iterable(stretches)), num_threads=1)
        counts = [len(document) for document in stretches]
        marks = chain.from_iterable(map(_marks, counts))
        arrays = list(chain.from_iterable(zip(marks, encoded, strict=True)))
        ends = np.cumsum([0, *map(len, arrays)])
        return np.concatenate(arrays).view(np.uint32), ends[2 * np.cumsum([0, *counts])]

    def encode_reference(self, texts: Sequence[str]) -> list[Encoded]:
        """Do as `encode`: SentencePiece has no cache."""
        return self.encode(texts)

    def tokens(self, text: str) -> list[str]:
        """Return the pieces of a raw document, unknown ones as they are spelled."""
        clean = replace_lone_surrogates(text)
        stretches = _stretches(clean)
        out: list[str] = []
        for mark, stretch in zip(_marks(len(stretches)), stretches, strict=True):
            out += [*map(self._pieces.id_to_piece, mark.tolist()), *self._pieces.encode(stretch, out_type=str)]
        return out

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, special tokens left out: exactly `normalize(text)` if no piece is unknown."""
        return str(self._pieces.decode([int(index) for index in ids]))

    def normalize(self, text: str) -> str:
        """Return the model's normalisation of one field, blanks as blanks, without the one that it puts in front."""
        return str(self._pieces.normalize(text)).replace(_BLANK, " ").removeprefix(" ")

    def save(self, folder: Path) -> None:
        """Write the tokenizer folder."""
        write_bytes(folder / MODEL_NAME, self.model)
        write_bytes(folder / CHARACTERS_NAME, canonical_json(self.characters))
        made_with = f"sentencepiece=={metadata.version('sentencepiece')}"
        write_description(folder, self, self.recipe, [MODEL_NAME, CHARACTERS_NAME], made_with)

    def _unknown_bits(self, stretches: Sequence[str], pieces: int) -> float:
        """Return the bits of unknown pieces: of their letters, which are those that no piece of one letter holds.

        Only words with other letters than safe ones are looked at: asking SentencePiece for the pieces would cost as
        much as encoding again, and for the whole text as it normalises it a quarter of that.
        """
        words = " ".join(self._unsafe_words(" ".join(stretches)))
        return self._spelling.bits_of_all(self._unknown_letters(self._pieces.normalize(words)), pieces)

    def _unsafe_words(self, text: str) -> Iterator[str]:
        # A table of code points, as a regular expression takes six times as long over the text.
        codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        places = self._unsafe.take(codes, mode="clip").nonzero()[0]
        # Of those side by side the first is enough: in a script with no safe letters they are most of the text.
        others = places[1:][places[1:] > places[:-1] + 1]
        done = 0
        for place in chain(places[:1].tolist(), others.tolist()):
            if place < done:
                continue
            done = text.find(" ", place)
            done = len(text) if done < 0 else done
            yield text[text.rfind(" ", 0, place) + 1 : done]

    def _find_unsafe_letters(self) -> np.ndarray:
        """Return by code point which letters can be or become unknown; the last one stands for all that follow.

        A safe letter stays known whatever stands beside it: only marks that combine with it could change that.
        """
        unsafe = np.ones(_SAFE_LETTERS[-1] + 2, np.bool_)
        normalised = (self._pieces.normalize(f"a{chr(code)}a") for code in _SAFE_LETTERS)
        unsafe[list(_SAFE_LETTERS)] = [bool(self._unknown_letters(letters)) for letters in normalised]
        unsafe[ord(" ")] = False
        return unsafe


def train_subword(texts: Iterable[str], recipe: SubwordRecipe) -> SubwordTokenizer:
    """Train a SentencePiece model of exactly `vocab_size` pieces on a sample of raw documents.

    The vocabulary limit is hard: a model of another size than the recipe says would be a surprise to everything after.
    Raises DataError if there is no text, or if it supports fewer pieces or needs more.
    """
    return train_on_lines(sample_lines(texts, recipe.sample_characters, recipe.seed), recipe)


def train_on_lines(lines: list[str], recipe: SubwordRecipe) -> SubwordTokenizer:
    """Do as `train_subword` on a sample that is drawn already (sample.py)."""
    if not lines:
        raise DataError(
            "there is no text to train SentencePiece on",
            found="no line that is not blank",
            do="check the input and its filters",
        )
    assert all(len(line.encode()) <= MAX_LINE_BYTES for line in lines), "SentencePiece would skip a line"
    model = _train_model(lines, recipe)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    return SubwordTokenizer(recipe, model, _count_characters(processor, lines))


def open_subword_tokenizer(folder: Path, recipe: dict[str, Any]) -> SubwordTokenizer:
    """Open the SentencePiece tokenizer of a folder whose files are checked; `recipe` is that of its description."""
    parsed = parse_recipe(recipe, str(folder))
    assert isinstance(parsed, SubwordRecipe)
    return SubwordTokenizer(parsed, (folder / MODEL_NAME).read_bytes(), read_json(folder / CHARACTERS_NAME))


def _stretches(text: str) -> list[str]:
    """Return what SentencePiece encodes of a raw document: its field, or of several each one's number and the field."""
    if FIELD_SEPARATOR not in text:
        return [text]
    fields = enumerate(text.split(FIELD_SEPARATOR), start=1)
    return [stretch for number, field in fields for stretch in (str(number), field)]


def _marks(stretches: int) -> Sequence[np.ndarray]:
    """Return the ids that stand in front of each stretch of a document."""
    return _ONE_FIELD if stretches == 1 else [_BOS_FLD, _NOTHING] + [_FLD, _NOTHING] * (stretches // 2 - 1)


def _train_model(lines: list[str], recipe: SubwordRecipe) -> bytes:
    model = io.BytesIO()  # a model written to a path holds that path, and so differs from folder to folder
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type=recipe.model_type,
            vocab_size=recipe.vocab_size,
            hard_vocab_limit=True,
            character_coverage=recipe.character_coverage,
            byte_fallback=recipe.byte_fallback,
            normalization_rule_name=recipe.normalization,
            num_threads=recipe.num_threads,
            max_sentence_length=MAX_LINE_BYTES,
            unk_id=UNK_ID,
            pad_id=PAD_ID,
            bos_id=BOS_ID,
            eos_id=EOS_ID,
            unk_piece=XXUNK,
            pad_piece=XXPAD,
            bos_piece=XXBOS,
            eos_piece=XXEOS,
            control_symbols=[XXFLD],
            minloglevel=_ERRORS_ONLY,
        )
    except RuntimeError as error:
        raise _explain(str(error), recipe, sum(map(len, lines))) from error
    return model.getvalue()


def _explain(message: str, recipe: SubwordRecipe, characters: int) -> DataError:
    found = f"vocab_size = {recipe.vocab_size} on a sample of {characters} characters"
    if most := re.search(r"Vocabulary size too high .*<= (\d+)", message):
        do = f"set vocab_size to at most {most[1]}, or give more text"
        return DataError(f"the text supports no more than {most[1]} pieces", found=found, do=do)
    if least := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        do = f"set vocab_size to more than {least[1]}, or lower character_coverage"
        return DataError(f"the characters of the text alone need {least[1]} pieces", found=found, do=do)
    if "all_chars_count" in message or "sentences_.empty" in message:
        do = "check the input and its filters"
        return DataError("the text to train SentencePiece on is empty once normalised", found=found, do=do)
    return DataError(
        "SentencePiece could not train a model", found=f"{found}: {message.strip()}", do="check the recipe and the text"
    )


def _count_characters(pieces: Any, lines: list[str]) -> dict[str, int]:
    """Count the characters of the normalised lines; each word has its blank, which stands for the ends of words."""
    counts: Counter[str] = Counter()
    for line in lines:
        counts.update(pieces.normalize(line))
    counts[END] = counts.pop(_BLANK, 0)
    return dict(sorted(counts.items()))
