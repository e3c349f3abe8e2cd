"""A vocabulary that exists already: the `itos` of public weights, or one that another corpus gave; and how it fits."""

from __future__ import annotations

import heapq
import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ulmfit_dist.errors import InputError
from ulmfit_dist.tokenization.rules import RULE_SETS, rule_set
from ulmfit_dist.tokenization.vocabulary import Vocabulary, require_documents

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from ulmfit_dist.tokenization.recipe import WordRecipe
    from ulmfit_dist.tokenization.ruleset import RuleSet
    from ulmfit_dist.tokenization.vocabulary import WordCounts

# fast.ai 1 and 2 fill their vocabularies up with it to a multiple of 8; no text gives it.
_FILLER = "xxfake"


@dataclass(frozen=True)
class VocabularyReport:
    """How a vocabulary fits a text; special tokens are left out of all but `entries`.

    tokens: running tokens; types: distinct ones; known_tokens, known_types: those in the vocabulary; entries: its size;
    unused: its entries that do not occur; coverage: known_tokens / tokens (1 for no tokens) and unknown_rate: the rest;
    frequent_unknown: (token, count), the most frequent first, ties in the order of the token.
    """

    documents: int
    tokens: int
    types: int
    known_tokens: int
    known_types: int
    entries: int
    unused: int
    coverage: float
    unknown_rate: float
    frequent_unknown: tuple[tuple[str, int], ...]


def report_vocabulary(
    counts: WordCounts, vocabulary: Vocabulary, specials: Collection[str], most: int = 20
) -> VocabularyReport:
    """Compare a vocabulary with counts that hold all of its words; `most`: how many unknown tokens are named.

    Raises DataError for no documents.
    """
    require_documents(counts)
    unknown = {token: count for token, count in counts.words.items() if token not in vocabulary.stoi}
    known_types = len(counts.words) - len(unknown)
    known_tokens = sum(counts.words.values()) - sum(unknown.values())
    rate = 1.0 - known_tokens / counts.tokens if counts.tokens else 0.0
    return VocabularyReport(
        documents=counts.documents,
        tokens=counts.tokens,
        types=counts.types,
        known_tokens=known_tokens,
        known_types=known_types,
        entries=len(vocabulary.itos),
        unused=len(vocabulary.stoi.keys() - set(specials)) - known_types,
        coverage=1.0 - rate,
        unknown_rate=rate,
        frequent_unknown=tuple(heapq.nsmallest(most, unknown.items(), key=lambda item: (-item[1], item[0]))),
    )


def reuse_vocabulary(itos: Sequence[str], counts: WordCounts, recipe: WordRecipe) -> Vocabulary:
    """Keep the given tokens and their ids; only the characters that price unknown words are counted anew.

    max_vocab and min_freq of the recipe are not looked at. Raises InputError if the tokens are not those of the
    recipe's rule set, DataError if there are no documents.
    """
    rules = rule_set(recipe.rules)
    check_entries(itos, rules)
    require_documents(counts)
    return Vocabulary(tuple(itos), dict(counts.characters))


def check_entries(itos: Sequence[str], rules: RuleSet) -> None:
    """Raise InputError unless the rule set's special tokens come first, its bos is there and no token comes twice."""
    found = tuple(itos[: len(rules.specials)])
    if found != rules.specials:
        fitting = [other.name for other in RULE_SETS.values() if tuple(itos[: len(other.specials)]) == other.specials]
        raise InputError(
            f"the vocabulary does not begin with the special tokens of the rule set {rules.name}",
            found=f"{' '.join(map(repr, found))} instead of {' '.join(rules.specials)}",
            do=f'set rules = "{fitting[0]}" in the recipe' if fitting else "give the vocabulary of a known rule set",
        )
    if rules.bos not in itos:
        raise InputError(
            f"the vocabulary lacks {rules.bos}, which begins each document",
            found=f"{len(itos)} tokens without it",
            do=f"give a vocabulary that was made with the rules of {rules.name}",
        )
    twice = [token for token, count in Counter(itos).items() if count > 1 and token != _FILLER]
    if twice:
        places = [index for index, token in enumerate(itos) if token == twice[0]]
        raise InputError(
            "a token of the vocabulary has two ids", found=f"{twice[0]!r} at {places[0]} and {places[1]}", do="keep one"
        )


def read_itos(path: Path) -> list[str]:
    """Read tokens in id order: from .json a list or an object with the list `tokens` (our vocabulary.json), else lines.

    Lines end at new lines only, and a token that holds one needs JSON. Raises InputError for anything else; a pickle is
    never opened, since opening one runs what it says.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise InputError(f"cannot read {path}", found=error.strerror or str(error), do="check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is no vocabulary in UTF-8",
            found="a pickle, it seems" if path.suffix == ".pkl" else str(error),
            do='write its tokens as JSON: python -c "import json, pickle; '
            "json.dump(list(pickle.load(open('itos.pkl', 'rb'))), open('itos.json', 'w'))\", if you trust the file",
        ) from error
    if path.suffix != ".json":
        return text.removesuffix("\n").split("\n")
    return _json_tokens(path, text)


def _json_tokens(path: Path, text: str) -> list[str]:
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not valid JSON", found=str(error), do="mend the file at that place") from error
    tokens = values.get("tokens") if isinstance(values, dict) else values
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise InputError(
            f"{path} is no vocabulary",
            found=f"{text[:40]!r} ...",
            do="give a JSON list of tokens, in the order of their ids",
        )
    return tokens
