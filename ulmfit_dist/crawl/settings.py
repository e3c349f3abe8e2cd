"""Settings of ingest: which sources, how they are read, and how their documents are split."""

from __future__ import annotations

import difflib
import math
import re
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from ulmfit_dist.config import Settings, operational
from ulmfit_dist.corpus.locations import locate
from ulmfit_dist.corpus.quarantine import DEFAULT_SHARE
from ulmfit_dist.corpus.records import SourceColumns
from ulmfit_dist.crawl.extract import ExtractorName
from ulmfit_dist.crawl.language import UNDETERMINED, iso_code
from ulmfit_dist.crawl.masks import Mask
from ulmfit_dist.crawl.rules import RULES, unknown_rules
from ulmfit_dist.crawl.sites import read_blocklist
from ulmfit_dist.crawl.splits import TEST
from ulmfit_dist.errors import InputError
from ulmfit_dist.files import digest_file, fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ulmfit_dist.corpus.locations import Location

_SPLIT_NAME = re.compile(r"[a-z][a-z0-9_-]*")


class CrawlSettings(Settings):
    """How the pages of a crawl become clean documents.

    `extractor`: what finds a page's main content; trafilatura (needs that package) keeps less, more of it the page's
    own, at a quarter of the speed. `language_rule`: "agree" asks py3langid and pycld2 to agree; "recall" also takes
    py3langid's word from .9 for `languages`; "strict" asks `language_model` to agree with both. `language_model`: a
    fastText model instead of both, but where the rule is strict (needs the package fasttext), believed from
    `min_language_score`.
    `min_language_share`: share of a page's lines in its language, below it is `multi`.
    `near_duplicate_similarity`: Jaccard similarity of 5-grams from which two pages are one (0: never compared).
    `quality`: whether the rules of rules.toml apply, with `thresholds` {language, default or unspaced: {rule:
    value}} over them. `boilerplate_pages`, `boilerplate_share`: a line on so many pages, and such a share, of a
    site is taken out (0 pages: none). `mask`: personal data that is masked. `split_by`: what falls in one split
    together. `blocklists`: files of ids, URLs and domains whose text is not kept. `robots`: whether pages that ask
    machines not to learn from them (noai), or not to index them either (noindex), are dropped.
    """

    extractor: ExtractorName = "resiliparse"
    language_rule: Literal["agree", "recall", "strict"] = "agree"
    language_model: str = operational("", "fastText model file (its content is part of the result)")
    min_language_score: float = Field(default=0.65, ge=0, le=1)
    min_language_share: float = Field(default=0.7, ge=0, le=1)
    near_duplicate_similarity: float = Field(default=0.7, ge=0, le=1)
    quality: bool = True
    thresholds: dict[str, dict[str, float]] = Field(default_factory=dict)
    boilerplate_pages: int = Field(default=10, ge=0)
    boilerplate_share: float = Field(default=0.2, ge=0, le=1)
    mask: list[Mask] = Field(default=["email", "ip"])
    split_by: Literal["site", "text"] = "site"
    blocklists: list[str] = operational([], "files of ids, URLs and domains (their content is part of the result)")
    robots: Literal["ignore", "noai", "noindex"] = "ignore"

    @field_validator("thresholds")
    @classmethod
    def _rules(cls, value: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
        if unknown := unknown_rules(value):
            near = difflib.get_close_matches(unknown[0], RULES, n=1, cutoff=0.5)
            msg = f"{unknown[0]!r} is no quality rule" + (f"; did you mean {near[0]!r}?" if near else "")
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _has_a_third(self) -> CrawlSettings:
        if self.language_rule == "strict" and not self.language_model:
            msg = 'language_rule = "strict" needs a language_model: it must agree with the two that come along'
            raise ValueError(msg)
        return self

    def semantic(self) -> dict[str, Any]:
        """As every settings class; of files what they hold, not where they lie."""
        model = Path(self.language_model)
        digest = digest_file(model) if self.language_model and model.is_file() else self.language_model
        blocked = read_blocklist(map(Path, self.blocklists)) if self.blocklists else []
        return {**super().semantic(), "language_model": digest, "blocklists": fingerprint(blocked)}

    def reading(self) -> dict[str, Any]:
        """Return those of `semantic` that decide what is read from a page; the others decide on it later."""
        names = ("extractor", "language_rule", "language_model", "min_language_score", "min_language_share")
        return {name: value for name, value in self.semantic().items() if name in names}

    def cleaning(self) -> dict[str, Any]:
        """Return those of `semantic` that decide what of a page's text is kept and compared."""
        names = ("boilerplate_pages", "boilerplate_share", "mask", "blocklists")
        return {name: value for name, value in self.semantic().items() if name in names}


class Source(Settings):
    """One file, folder or URL to read; a plain string in a recipe stands for its path.

    `split` names the split of all of its documents (an official test set); without it they are split by hash.
    `duplicates`: "auto" keeps equal texts where the split is named, since results on it are compared with others',
    and drops all but the first elsewhere. `clean`: whether its documents are treated as pages of a crawl (language,
    boilerplate, near-duplicates, quality); "auto" does where they are (WARC).
    """

    path: str = operational(..., "file, folder or URL")
    split: str = ""
    duplicates: Literal["auto", "drop", "keep"] = "auto"
    clean: Literal["auto", "yes", "no"] = "auto"

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


class OfficialFolds(Settings):
    """Folds of a cross-validation that came with the data: `columns.fold` of each record, or a file with one a line.

    `test`: the fold that is the test split, from 0.
    """

    folds: int = Field(ge=2)
    test: int = Field(ge=0)
    file: str = operational("", "a fold number for each record, in their order (its content is part of the result)")

    def semantic(self) -> dict[str, Any]:
        """As every settings class; of the file what it holds, not where it lies."""
        path = Path(self.file)
        return {**super().semantic(), "file": digest_file(path) if self.file and path.is_file() else self.file}


class IngestSettings(Settings):
    """How raw sources become split documents.

    `splits`: share of each split, summing to 1, for sources without a split of their own. `languages`: what a crawl
    keeps (any ISO 639 code; empty: all). `min_characters`: shortest crawled text kept. `item_characters`: code points
    of a work item. `quarantine_share`: records that may be unreadable, 0..1. `max_documents`: records read of each
    source, for trials. `rotation`: where the splits begin (`splits.split_of`). `official`: folds that decide what the
    test split is; the other splits are cut from the rest, in proportion. `crawl`: how pages are cleaned.
    """

    sources: list[Source] = Field(min_length=1)
    columns: SourceColumns = SourceColumns()
    languages: list[str] = Field(default_factory=list)
    labelled: bool = False
    splits: dict[str, float] = Field(default_factory=lambda: {"train": 0.95, "valid": 0.05})
    min_characters: int = Field(default=200, ge=0)
    item_characters: int = Field(default=64_000_000, ge=1)
    seed: int = 0
    rotation: float = Field(default=0.0, ge=0, lt=1)
    official: OfficialFolds | None = None
    quarantine_share: float = Field(default=DEFAULT_SHARE, ge=0, le=1)
    max_documents: int | None = Field(default=None, ge=1)
    classes: bool = operational(
        default=True, description="labels are classes: every split made here must have each, or they are refused"
    )
    crawl: CrawlSettings = CrawlSettings()
    reuse: str = operational("", "folder that keeps what is read: other thresholds then read no source again")
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

    @model_validator(mode="after")
    def _folds_of_labelled_documents(self) -> IngestSettings:
        if self.official is not None and not (self.labelled and TEST in self.splits):
            msg = "official folds are of labelled documents, and one of them is the split 'test'"
            raise ValueError(msg)
        return self

    def semantic(self) -> dict[str, Any]:
        """As every settings class; of a source its name, split and duplicates, not where it lies."""
        names = source_names([locate(source.path) for source in self.sources])
        described = [{"name": n, **source.semantic()} for n, source in zip(names, self.sources, strict=True)]
        return {**super().semantic(), "sources": described}

    def reading(self) -> dict[str, Any]:
        """Return those of `semantic` that decide what is read from the sources, before anything is compared."""
        later = ("item_characters", "quarantine_share", "min_characters", "languages")
        settings = {name: value for name, value in self.semantic().items() if name not in later}
        wanted = self.languages if self.crawl.language_rule == "recall" else []
        return {**settings, "crawl": self.crawl.reading(), "languages": wanted}


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
