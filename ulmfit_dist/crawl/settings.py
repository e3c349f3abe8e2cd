"""Settings of ingest: which sources, how they are read, and how their documents are split."""

from __future__ import annotations

import math
import re
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from ulmfit_dist.config import Settings, operational
from ulmfit_dist.corpus.locations import locate
from ulmfit_dist.corpus.quarantine import DEFAULT_SHARE
from ulmfit_dist.corpus.records import SourceColumns
from ulmfit_dist.crawl.language import UNDETERMINED, iso_code
from ulmfit_dist.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ulmfit_dist.corpus.locations import Location

_SPLIT_NAME = re.compile(r"[a-z][a-z0-9_-]*")


class Source(Settings):
    """One file, folder or URL to read; a plain string in a recipe stands for its path.

    `split` names the split of all of its documents (an official test set); without it they are split by hash.
    `duplicates`: "auto" keeps equal texts where the split is named, since results on it are compared with others',
    and drops all but the first elsewhere.
    """

    path: str = operational(..., "file, folder or URL")
    split: str = ""
    duplicates: Literal["auto", "drop", "keep"] = "auto"

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, value: Any) -> Any:
        return {"path": str(value)} if isinstance(value, str | PurePath) else value

    @field_validator("split")
    @classmethod
    def _named(cls, value: str) -> str:
        return value if not value else _split_name(value)

    @property
    def drops_duplicates(self) -> bool:
        """Whether a text that was kept before, in the same split, is dropped."""
        return self.duplicates == "drop" or (self.duplicates == "auto" and not self.split)


class IngestSettings(Settings):
    """How raw sources become split documents.

    `splits`: share of each split, summing to 1, for sources without a split of their own. `languages`: what a crawl
    keeps (any ISO 639 code; empty: all). `min_characters`: shortest crawled text kept. `item_characters`: code points
    of a work item. `quarantine_share`: records that may be unreadable, 0..1. `max_documents`: records read of each
    source, for trials.
    """

    sources: list[Source] = Field(min_length=1)
    columns: SourceColumns = SourceColumns()
    languages: list[str] = Field(default_factory=list)
    labelled: bool = False
    splits: dict[str, float] = Field(default_factory=lambda: {"train": 0.95, "valid": 0.05})
    min_characters: int = Field(default=200, ge=0)
    item_characters: int = Field(default=64_000_000, ge=1)
    seed: int = 0
    quarantine_share: float = Field(default=DEFAULT_SHARE, ge=0, le=1)
    max_documents: int | None = Field(default=None, ge=1)
    workers: int = operational(2, "actors that read; sources of a single piece are read without any")

    @field_validator("splits")
    @classmethod
    def _shares(cls, value: dict[str, float]) -> dict[str, float]:
        for name in value:
            _split_name(name)
        if not all(0 < share <= 1 for share in value.values()) or not math.isclose(sum(value.values()), 1.0):
            msg = "the shares of the splits must be above 0 and sum to 1"
            raise ValueError(msg)
        return value

    @field_validator("languages")
    @classmethod
    def _codes(cls, value: list[str]) -> list[str]:
        codes = [iso_code(code) for code in value]
        for code, given in zip(codes, value, strict=True):
            if code == UNDETERMINED and given != UNDETERMINED:
                msg = f"{given!r} is no language code; write ISO 639-1 or 639-3, such as 'en' or 'ceb'"
                raise ValueError(msg)
        return codes

    def semantic(self) -> dict[str, Any]:
        """As every settings class; of a source its name, split and duplicates, not where it lies."""
        names = source_names([locate(source.path) for source in self.sources])
        described = [{"name": n, **source.semantic()} for n, source in zip(names, self.sources, strict=True)]
        return {**super().semantic(), "sources": described}


def source_inputs(settings: IngestSettings, base: Path) -> dict[str, Location]:
    """Return the sources as a stage's named inputs, paths taken relative to `base`; keys sort in the sources' order.

    Raises InputError for a URL whose protocol cannot be read here.
    """
    return {_key(index): locate(source.path, base) for index, source in enumerate(settings.sources)}


def source_locations(settings: IngestSettings, inputs: Mapping[str, Path]) -> list[Location]:
    """Return where each source lies: the input of its key, or where the settings say, as URLs are no inputs.

    Raises InputError when there is an input of no source.
    """
    strange = sorted(set(inputs) - {_key(index) for index in range(len(settings.sources))})
    if strange:
        found = f"{', '.join(strange)} for {len(settings.sources)} sources"
        raise InputError("inputs and sources do not match", found=found, do="name the inputs as source_inputs does")
    return [inputs.get(_key(index)) or locate(source.path) for index, source in enumerate(settings.sources)]


def source_names(locations: Sequence[Location]) -> list[str]:
    """Return the shortest ends of the locations that tell them apart: file names, with folders where they clash."""
    parts = [path.parts for path in locations]
    lengths = [1] * len(locations)
    while True:
        names = ["/".join(part[-length:]) for part, length in zip(parts, lengths, strict=True)]
        clashing = [
            index for index, name in enumerate(names) if names.count(name) > 1 and lengths[index] < len(parts[index])
        ]
        if not clashing:
            return names
        for index in clashing:
            lengths[index] += 1


def split_names(settings: IngestSettings) -> list[str]:
    """The splits that are written, sorted: those that sources name, and the shares' where some source names none."""
    by_hash = set(settings.splits) if not all(source.split for source in settings.sources) else set()
    return sorted(by_hash | {source.split for source in settings.sources if source.split})


def _key(index: int) -> str:
    return f"source-{index:05d}"


def _split_name(value: str) -> str:
    if not _SPLIT_NAME.fullmatch(value):
        msg = f"{value!r} is no split name; write lower-case letters, digits, - and _"
        raise ValueError(msg)
    return value
