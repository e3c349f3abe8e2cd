"""Checks of an ingest before any work: can the sources be read, and do their labels fit the splits."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from ulmfit_dist.corpus.formats import CRAWL_FORMATS, detect_format
from ulmfit_dist.corpus.quarantine import Tally
from ulmfit_dist.corpus.sources import check_source, no_labels, read_source
from ulmfit_dist.crawl.counts import SplitCounts
from ulmfit_dist.crawl.extract import main_content
from ulmfit_dist.crawl.folds import FoldCheck, split_document
from ulmfit_dist.crawl.normalise import normalise
from ulmfit_dist.crawl.settings import source_locations, split_names
from ulmfit_dist.crawl.splits import TEST, label_problem
from ulmfit_dist.errors import InputError, UlmfitError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping
    from pathlib import Path

    from ulmfit_dist.corpus.locations import Location
    from ulmfit_dist.corpus.records import SourceColumns
    from ulmfit_dist.crawl.settings import IngestSettings, Source


def check_inputs(settings: IngestSettings, inputs: Mapping[str, Path]) -> None:
    """Check every source before any work: its first 1,000 records, and for labelled ones one scan of all labels.

    Raises InputError for what check_source refuses, a crawl where labels are needed, one class only, a split made by
    hash that would miss a class, a label that training lacks, folds that do not fit (`folds.FoldCheck`), and a crawl
    whose extractor is not installed.
    """
    labels = SplitCounts(split_names(settings)).labels
    for source, location in zip(settings.sources, source_locations(settings, inputs), strict=True):
        crawl = check_ingest_source(location, settings.columns, labelled=False)
        if settings.labelled:
            if crawl:
                raise _crawl_without_labels(location)
            _scan_labels(source, location, settings, labels)
        if crawl:
            main_content(settings.crawl.extractor)
    if settings.labelled:
        raise_label_problem(labels, settings, InputError)


def check_ingest_source(location: Location, columns: SourceColumns, labelled: bool) -> bool:
    """Check one source as `corpus.sources.check_source` does, but take a crawl where no labels are needed.

    Returns whether it is a crawl (web pages). Raises InputError.
    """
    if detect_format(location, columns.texts) not in CRAWL_FORMATS:
        check_source(location, columns, labelled)
        return False
    if labelled:
        raise _crawl_without_labels(location)
    return True


def raise_label_problem(labels: Mapping[str, Counter[str]], settings: IngestSettings, kind: type[UlmfitError]) -> None:
    """Raise `kind` for the first thing wrong with the labels of the splits (`splits.label_problem`)."""
    official = {source.split for source in settings.sources} | ({TEST} if settings.official is not None else set())
    problem = label_problem(labels, official, classes=settings.classes)
    if problem is not None:
        what, found, do = problem
        raise kind(what, found=found, do=do)


def _crawl_without_labels(location: Location) -> InputError:
    return InputError(
        f"{location} has no labels", found="a crawl (web pages)", do="give labelled documents, or labelled = false"
    )


def _scan_labels(source: Source, location: Location, settings: IngestSettings, labels: dict[str, Counter[str]]) -> None:
    found, unlabelled, tally = 0, 0, Tally()
    folds = FoldCheck(settings, location)
    for document in folds.each(islice(read_source(location, settings.columns, tally), settings.max_documents)):
        if document.label is None:
            unlabelled += 1
            continue
        found += 1
        split = source.split or split_document(replace(document, text=normalise(document.text)), settings)
        labels[split][document.label] += 1
    if unlabelled and not found:
        raise no_labels(location, settings.columns, unlabelled)
    folds.finish(tally)
