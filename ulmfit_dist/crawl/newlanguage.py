"""A folder in tokenizers/ for a language, made from a sample of its text.

What the sample shows decides: its script, how many different letters it has, which marks end its sentences and whether
the word rules cut them off. A person who reads the language should look at golden.jsonl before it is relied on.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import sentencepiece

from ulmfit_dist.corpus.locations import Location
from ulmfit_dist.corpus.quarantine import Tally
from ulmfit_dist.corpus.records import SourceColumns
from ulmfit_dist.corpus.sources import read_source
from ulmfit_dist.crawl.language import UNDETERMINED, is_written_so, iso_code
from ulmfit_dist.crawl.scripts import UNSPACED, script_counts
from ulmfit_dist.errors import InputError
from ulmfit_dist.files import write_bytes
from ulmfit_dist.tokenization.recipe import (
    SEGMENTED_LANGUAGES,
    SubwordRecipe,
    WordRecipe,
    spacy_languages,
)
from ulmfit_dist.tokenization.segmenters import SEGMENTERS, missing_packages
from ulmfit_dist.tokenization.word import WordSplitter

GOLDEN_NAME, NOTICE_NAME = "golden.jsonl", "NOTICE"
_MAX_CHARACTERS = 20_000_000
_MIN_LETTERS, _MIN_SENTENCES = 2000, 20
_CASES = 3
# A case is for people to read.
_SHORTEST_CASE, _LONGEST_CASE = 25, 160
# Syllabaries have up to a thousand signs (Ethiopic 500, Yi 1,165), Chinese texts 2,000 and more.
_MANY_LETTERS = 1500
_MIN_SHARE_OF_ENDS = 0.01
_CUT_OFF = 0.9


@dataclass(frozen=True)
class NewLanguage:
    """What was found in a sample and what became of it.

    script: ISO 15924, the most frequent; letters: different letters; ends: marks that end sentences, the most frequent
    first; word: language of the word recipe (`xx`: the rules of no language), "" without one, and `why`; remarks: what
    a person should look at; folder: what was written.
    """

    code: str
    script: str
    letters: int
    ends: tuple[str, ...]
    word: str
    why: str
    character_coverage: float
    byte_fallback: bool
    remarks: tuple[str, ...]
    folder: Path


def new_language(code: str, samples: Sequence[Location], tokenizers: Path, licence: str) -> NewLanguage:
    """Write `tokenizers/<code>/`: recipes, golden.jsonl by the reference implementations, and NOTICE.

    Reads at most 20 million characters, of any format that ingest reads but web pages. Raises InputError for no ISO 639
    code, a folder that is there, too little text, or text in another script than the language is written in.
    """
    folder = tokenizers / code
    if iso_code(code) != code:
        known = iso_code(code)
        do = (
            f"write {known}" if known != UNDETERMINED else "write ISO 639-1, for example fi, or 639-3 where it has none"
        )
        raise InputError("not the ISO 639 code of a language", found=repr(code), do=do)
    if folder.exists():
        raise InputError(f"{folder} is there already", found="a folder", do="change its files, or remove it first")
    texts = list(_read(samples))
    script = _script(code, texts)
    subword = _subword_recipe(code, texts)
    word, why = _word_recipe(code, script)
    sentences = list(_sentences(texts))
    if len(sentences) < _MIN_SENTENCES:
        found = f"{len(sentences)} of {_SHORTEST_CASE} to {_LONGEST_CASE} characters"
        raise InputError("the sample has too few sentences", found=found, do=f"give at least {_MIN_SENTENCES}")
    ends = _ends(texts)
    remarks = _remarks(word, sentences, ends) if word else []
    cases = [*(_word_cases(word, sentences) if word else []), *_subword_cases(subword, sentences)]
    _write(folder, (code, script), (word, subword), cases)
    names = ", ".join(sample.name for sample in samples)
    notice = f"golden.jsonl quotes sentences of: {names}\nLicence of that text: {licence}\n"
    write_bytes(folder / NOTICE_NAME, notice.encode())
    return NewLanguage(
        code=code,
        script=script,
        letters=len(_letters(texts)),
        ends=ends,
        word=word.language if word else "",
        why=why,
        character_coverage=subword.character_coverage,
        byte_fallback=subword.byte_fallback,
        remarks=tuple(remarks),
        folder=folder,
    )


def _read(samples: Sequence[Location]) -> Iterator[str]:
    left = _MAX_CHARACTERS
    for sample in samples:
        for document in read_source(sample, SourceColumns(), Tally()):
            yield document.text[:left]
            left -= len(document.text)
            if left <= 0:
                return


def _letters(texts: Sequence[str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    return Counter({letter: count for letter, count in counts.items() if unicodedata.category(letter)[0] in "LM"})


def _script(code: str, texts: Sequence[str]) -> str:
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(script_counts(text))
    if counts.total() < _MIN_LETTERS:
        found, do = f"{counts.total()} letters", f"give at least {_MIN_LETTERS}, better a million"
        raise InputError("the sample has too little text", found=found, do=do)
    most = max(counts, key=lambda script: (counts[script], script))
    strange = [text for text in texts if not is_written_so(code, text)]
    if 2 * sum(map(len, strange)) > sum(map(len, texts)):
        found = f"{100 * counts[most] / counts.total():.0f} % of its letters are {most}"
        raise InputError(f"the sample is in no script of {code}", found=found, do="check the code and the sample")
    return most


def _subword_recipe(code: str, texts: Sequence[str]) -> SubwordRecipe:
    """All that is no noise gets a piece: but of Chinese characters, of which the rare ones are spelled in bytes."""
    many = len(_letters(texts)) > _MANY_LETTERS
    coverage = 0.9995 if many else 0.99999
    return SubwordRecipe.model_validate({"language": code, "character_coverage": coverage, "byte_fallback": many})


def _word_recipe(code: str, script: str) -> tuple[WordRecipe | None, str]:
    if code in SEGMENTERS and not missing_packages(code):
        return _words(code), f"words as {SEGMENTERS[code].packages[0]} cuts them"
    if code in SEGMENTED_LANGUAGES or script in UNSPACED:
        return None, SEGMENTED_LANGUAGES.get(code, f"{script} is written without blanks between words")
    if code in spacy_languages():
        return _words(code), "spaCy has rules for it"
    return _words("xx"), "spaCy has no rules for it: those of no language"


def _words(language: str) -> WordRecipe:
    return WordRecipe.model_validate({"language": language})


def _sentences(texts: Sequence[str]) -> Iterator[str]:
    """Yield lines, or the sentences in them where marks with a blank behind them end some, fit to be read."""
    seen: set[str] = set()
    for text in texts:
        for line in text.splitlines():
            for sentence in _cut(line.strip()):
                if _SHORTEST_CASE <= len(sentence) <= _LONGEST_CASE and sentence not in seen:
                    seen.add(sentence)
                    yield sentence


def _cut(line: str) -> Iterator[str]:
    start = 0
    for place, letter in enumerate(line):
        last = place + 1 == len(line)
        if last or (_is_mark(letter) and letter not in ",;" and line[place + 1] == " "):
            yield line[start : place + 1].strip()
            start = place + 1


def _is_mark(letter: str) -> bool:
    return unicodedata.category(letter) == "Po"


def _ends(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the marks that end lines, the most frequent first: each one in a hundred of the lines that end in one."""
    lasts = Counter(line.rstrip()[-1:] for text in texts for line in text.splitlines())
    marks = {mark: count for mark, count in lasts.items() if mark and _is_mark(mark)}
    least = _MIN_SHARE_OF_ENDS * sum(marks.values())
    return tuple(sorted((mark for mark, count in marks.items() if count >= least), key=lambda m: (-marks[m], m)))


def _remarks(word: WordRecipe, sentences: Sequence[str], ends: Sequence[str]) -> list[str]:
    """Say which of the marks stay on the last word of a sentence: then each last word is a word of its own."""
    splitter = WordSplitter(word)
    found: dict[str, Counter[bool]] = {}
    for sentence in islice(sentences, 2000):
        if sentence[-1] in ends:
            found.setdefault(sentence[-1], Counter())[splitter.tokens(sentence)[-1] == sentence[-1]] += 1
    return [
        f"{mark!r} stays on the last word in {100 * counts[False] / counts.total():.0f} % of the sentences that it "
        "ends: SentencePiece is the better choice"
        for mark, counts in sorted(found.items())
        if counts[True] < _CUT_OFF * counts.total()
    ]


def _chosen(sentences: Sequence[str]) -> list[str]:
    """Return a few sentences that show most: with capitals, digits and marks inside, the shortest first."""

    def shows(sentence: str) -> int:
        kinds = {unicodedata.category(letter) for letter in sentence[1:-1]}
        return len(kinds & {"Lu", "Nd", "Po", "Pd", "Ps", "Pf", "Mn", "Mc"})

    return sorted(sentences, key=lambda sentence: (-shows(sentence), len(sentence), sentence))[:_CASES]


def _word_cases(recipe: WordRecipe, sentences: Sequence[str]) -> list[dict[str, object]]:
    splitter = WordSplitter(recipe)
    return [{"recipe": "word_60k", "text": text, "tokens": splitter.tokens(text)} for text in _chosen(sentences)]


def _subword_cases(recipe: SubwordRecipe, sentences: Sequence[str]) -> list[dict[str, object]]:
    normalizer = sentencepiece.SentencePieceNormalizer(rule_name=recipe.normalization)
    # Two blanks and a new line: what the normaliser is there for.
    texts = ["  ".join(text.split(" ", 1)) + "\n" for text in _chosen(sentences)[:2]]
    return [
        {
            "recipe": "sp_30k",
            "text": text,
            "normalised": normalizer.normalize(text).replace("\u2581", " ").removeprefix(" "),
        }
        for text in texts
    ]


def _write(
    folder: Path,
    named: tuple[str, str],
    recipes: tuple[WordRecipe | None, SubwordRecipe],
    cases: Sequence[dict[str, object]],
) -> None:
    (code, script), (word, subword) = named, recipes
    if word is not None:
        how = "as a segmenter cuts them" if code in SEGMENTERS else "spaCy's rule tokenizer"
        first = f"# {code} ({script}): words, {how}, rule set {word.rules}, the 60,000 most frequent tokens."
        write_bytes(folder / "word_60k.toml", _toml(first, word))
    first = f"# {code} ({script}): SentencePiece {subword.model_type}, 30,000 pieces."
    write_bytes(folder / "sp_30k.toml", _toml(first, subword))
    lines = "".join(json.dumps(case, ensure_ascii=False) + "\n" for case in cases)
    write_bytes(folder / GOLDEN_NAME, lines.encode())


def _toml(first: str, recipe: WordRecipe | SubwordRecipe) -> bytes:
    # Booleans, numbers and plain words: JSON writes them as TOML does.
    lines = (f"{name} = {json.dumps(value)}" for name, value in recipe.model_dump(mode="json").items())
    return ("\n".join([first, *lines]) + "\n").encode()
