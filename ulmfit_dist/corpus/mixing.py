"""The stage that mixes languages for models that share a tokenizer and a vocabulary.

A language with the share p of the characters is drawn with the share p^alpha / sum p^alpha: alpha = 1 leaves the shares
as they are, 0 makes all alike. (Conneau and Lample 2019, Cross-lingual language model pretraining, section 3.1.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import xxhash
from pydantic import Field

from ulmfit_dist.config import Settings
from ulmfit_dist.corpus.bylanguage import no_documents_in
from ulmfit_dist.corpus.documents import Document, document_id, read_documents, read_manifest, write_documents
from ulmfit_dist.stage import StageCall, Summary

TRAIN = "train"
_WHOLE = 1 << 64


class MixSettings(Settings):
    """Which languages are mixed, and how much the small ones gain."""

    languages: list[str] = Field(min_length=2, description="ISO 639 codes")
    alpha: float = Field(default=0.3, ge=0, le=1, description="1: shares as they are, 0: all languages alike")
    item_characters: int = Field(default=64_000_000, ge=1, description="characters of a work item")
    seed: int = Field(default=1, ge=0, description="which documents are taken once more, or not")


def shares(characters: Mapping[str, int], alpha: float) -> dict[str, float]:
    """Return the share that each language is drawn with, p^alpha / sum p^alpha of its own share p."""
    total = sum(characters.values())
    powers = {language: (count / total) ** alpha for language, count in characters.items()}
    return {language: power / sum(powers.values()) for language, power in powers.items()}


def mix_languages(call: StageCall[MixSettings]) -> Summary:
    """Stage: write `out/<split>/` with documents of several languages of `documents` (bylanguage.py), resampled.

    The training split keeps its number of characters: a document of a language that gains is there several times, of
    one that loses perhaps not at all, by the hash of its id and the seed. Other splits are taken whole. Summary:
    {languages: {code: {documents, characters, share, drawn}}, splits: {split: {documents, characters}}}. Raises
    DataError where one of the languages has no training document.
    """
    settings, documents = call.settings, call.inputs["documents"]
    splits = sorted({path.parent.name for path in documents.glob("*/*/manifest.json")})
    folders = {language: documents / language for language in settings.languages}
    manifests = {name: read_manifest(folder / TRAIN) for name, folder in folders.items() if (folder / TRAIN).is_dir()}
    missing = [name for name in settings.languages if name not in manifests or not manifests[name].kept]
    if missing:
        raise no_documents_in(missing, documents)
    characters = {language: manifest.characters for language, manifest in manifests.items()}
    drawn = shares(characters, settings.alpha)
    total = sum(characters.values())
    rates = {language: drawn[language] * total / characters[language] for language in characters}
    written = {}
    for split in splits:
        wanted = rates if split == TRAIN else dict.fromkeys(rates, 1.0)
        found = write_documents(
            call.out / split, _drawn(folders, split, wanted, settings.seed), settings.item_characters, ()
        )
        written[split] = {"documents": found.kept, "characters": found.characters}
    languages = {
        name: {
            "documents": manifests[name].kept,
            "characters": characters[name],
            "share": characters[name] / total,
            "drawn": drawn[name],
        }
        for name in characters
    }
    return {"languages": languages, "splits": written}


def _drawn(folders: Mapping[str, Path], split: str, rates: Mapping[str, float], seed: int) -> Iterator[Document]:
    for language, folder in folders.items():
        for document in read_documents(folder / split):
            for copy in range(_copies(document.id, rates[language], seed)):
                yield document if not copy else replace(document, id=document_id(document.id, str(copy)))


def _copies(identity: str, rate: float, seed: int) -> int:
    """Return how often a document is taken: the whole part of the rate, and once more with its fraction as chance."""
    whole = int(rate)
    chance = xxhash.xxh3_64_intdigest(f"{seed}\0{identity}".encode())
    return whole + (chance < (rate - whole) * _WHOLE)
