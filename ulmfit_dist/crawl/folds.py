"""Folds that came with the data: which documents a cross-validation tests together, as others have tested them.

Where a fold is tested, its documents are the test split, all of them, whatever their text; the others are cut by hash.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING

from ulmfit_dist.crawl.splits import TEST, split_of
from ulmfit_dist.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ulmfit_dist.corpus.documents import Document
    from ulmfit_dist.corpus.locations import Location
    from ulmfit_dist.corpus.quarantine import Tally
    from ulmfit_dist.crawl.settings import IngestSettings


def split_document(document: Document, settings: IngestSettings) -> str:
    """Return the split of a normalised document of a source that names none: by its fold, else by its words."""
    shares, official = settings.splits, settings.official
    if official is not None:
        if int(document.fold) == official.test:
            return TEST
        rest = {name: share for name, share in shares.items() if name != TEST}
        shares = {name: share / sum(rest.values()) for name, share in rest.items()}
    return split_of(document.text, shares, settings.seed, settings.rotation)


def with_folds(documents: Iterable[Document], settings: IngestSettings) -> Iterator[Document]:
    """Yield the documents of a source from its first on, each with its fold; "" for those after the end of a list.

    Raises InputError as `FoldCheck` does for a file that is no list of folds.
    """
    numbers = _numbers(settings)
    if numbers is None:
        return iter(documents)
    folds = chain(numbers, repeat(""))
    return (replace(document, fold=fold) for document, fold in zip(documents, folds, strict=False))


def records_to_read(settings: IngestSettings) -> int | None:
    """Return how many records of each source are read, as one piece; None for all, in pieces.

    A list of folds goes by a record's place in the source, which a piece of it does not know.
    """
    numbers = _numbers(settings)
    return settings.max_documents if numbers is None else len(numbers)


class FoldCheck:
    """Sees while a source is read whether its folds fit; without official folds it sees nothing wrong.

    Raises InputError for a fold file that cannot be read and more sources than one; `each` for a number that is missing
    or none of the folds; `finish` for a fold without a document, and a list that is not as long as the source.
    """

    def __init__(self, settings: IngestSettings, location: Location) -> None:
        if settings.official is not None and len(settings.sources) > 1:
            found = f"{len(settings.sources)} sources"
            raise InputError("official folds are of one source", found=found, do="give it alone")
        self._settings, self._location = settings, location
        self._listed = _numbers(settings)
        self._found: Counter[str] = Counter()
        self._records = 0

    def each(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Yield the documents with their folds, those after the end of a list left out."""
        official = self._settings.official
        for document in with_folds(documents, self._settings):
            self._records += 1
            if self._listed is not None and self._records > len(self._listed):
                continue
            if official is not None:
                self._found[_checked(document.fold, official.folds, f"record {document.source}")] += 1
            yield document

    def finish(self, tally: Tally) -> None:
        """Say what is wrong with the folds of the whole source; `tally` holds its records that cannot be read."""
        official = self._settings.official
        if official is None:
            return
        if self._listed is not None and tally.total:
            found = f"{tally.total} records that cannot be read; first: {tally.first}"
            do = "mend them, or take them out together with their numbers"
            raise InputError(f"{official.file} cannot go along {self._location}", found=found, do=do)
        if self._listed is not None and len(self._listed) != self._records:
            found = f"{len(self._listed)} numbers for {self._records} records of {self._location}"
            raise InputError(f"{official.file} has another length", found=found, do="give one number for each record")
        empty = [str(fold) for fold in range(official.folds) if str(fold) not in self._found]
        if empty:
            found = f"documents in {len(self._found)} of {official.folds} folds"
            do = f"check the numbers, which begin with 0, and folds = {official.folds}"
            raise InputError(f"fold {', '.join(empty)} of {self._location} is empty", found=found, do=do)


def _numbers(settings: IngestSettings) -> list[str] | None:
    """The numbers of a fold file, as far as records are read; None where there is no file."""
    official = settings.official
    if official is None or not official.file:
        return None
    path = Path(official.file)
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        do = "give a text file on a local disk with one number a line"
        raise InputError(f"cannot read the folds of {path}", found=str(error), do=do) from error
    numbered = enumerate(lines[: settings.max_documents], 1)
    return [_checked(line.strip(), official.folds, f"line {number} of {path}") for number, line in numbered]


def _checked(fold: str, folds: int, where: str) -> str:
    """Return a fold's number in its plain form."""
    if not (fold.isascii() and fold.isdecimal() and int(fold) < folds):
        do = f"give each record a fold from 0 to {folds - 1}, or correct folds"
        raise InputError(f"{where} is in no fold", found=repr(fold) if fold else "no number", do=do)
    return str(int(fold))
