"""What kind of file a source is: by its first bytes, then by its extension, then by its first line."""

from __future__ import annotations

import codecs
import csv
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ulmfit_dist.corpus.compression import COMPRESSION_SUFFIXES, DAMAGED_STREAM, OpenedFile
from ulmfit_dist.corpus.locations import files_in
from ulmfit_dist.errors import InputError

if TYPE_CHECKING:
    from ulmfit_dist.corpus.locations import Location

Format = Literal[
    "csv", "tsv", "jsonl", "parquet", "text", "wiki", "mediawiki", "warc", "arc", "html", "folder", "classes", "crawl"
]

CRAWL_FORMATS: frozenset[Format] = frozenset({"warc", "arc", "html", "crawl"})
"""What holds web pages: the formats that crawl/ reads; "crawl" is a folder of them."""

CLASSES_NAME = "classes.txt"
_HEAD_BYTES = 1 << 16
_EXTENSIONS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".txt": "text",
    ".text": "text",
    ".md": "text",
}
_TABLE_EXTENSIONS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
_HTML_EXTENSIONS = frozenset({".html", ".htm", ".xhtml", ".shtml"})
_CRAWL_EXTENSIONS = _HTML_EXTENSIONS | {".warc", ".arc", ".wet"}
_HTML_OPENING = re.compile(
    rb"(?:\s|<!--.{0,4000}?-->|<\?xml[^>]{0,200}>)*<(?:!doctype\s+html|html)\b", re.IGNORECASE | re.DOTALL
)
# The line that opens an article in the files of wikiextractor.
WIKI_OPENING = re.compile(rb'<doc id="(?P<id>[^"]*)"(?: revid="[^"]*")?(?: url="(?P<url>[^"]*)")?(?: title=".*")?>\s*')
_JSON_OPENING = re.compile(r'\{\s*"')
_WIDE_BOMS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def detect_format(location: Location, text_columns: list[str]) -> Format:
    """Return what a source is. Folders: "classes" of class-named folders, "crawl" of web pages, else "folder".

    Raises InputError, before any record is read, for a missing, unreadable or empty file, folder or URL, one that
    cannot be decompressed, binary data, UTF-16 or UTF-32, or a JSON array.
    """
    try:
        if isinstance(location, Path) and not location.exists():
            raise InputError(f"there is no source {location}", found="no such file or folder", do="check the path")
        if location.is_dir():
            return _folder_kind(location, text_columns)
        with OpenedFile(location) as file:
            head = _head(file)
    except DAMAGED_STREAM as error:
        do = "check the permission or the connection, and that the file was copied whole"
        raise InputError(f"cannot read {location}", found=str(error) or type(error).__name__, do=do) from error
    if not head.strip():
        found = "0 bytes" if not head else "only white space"
        raise InputError(f"{location} is empty", found=found, do="give a file with text in it")
    return _by_content(location, head) or _EXTENSIONS.get(_extension(location)) or _by_first_line(head, text_columns)


def source_files(folder: Location) -> list[tuple[str, Location]]:
    """Return (path inside the folder, location) of its files, hidden ones and classes.txt left out, in that order."""
    return [(inside, file) for inside, file in files_in(folder) if file.name != CLASSES_NAME]


def _head(file: OpenedFile) -> bytes:
    """The first bytes; of a file damaged in them those before the damage, which is the reader's to report."""
    head = b""
    try:
        while len(head) < _HEAD_BYTES and (block := file.stream.read1(_HEAD_BYTES - len(head))):
            head += block
    except DAMAGED_STREAM:
        if not head:
            raise
    return head


def _folder_kind(folder: Location, text_columns: list[str]) -> Format:
    files = source_files(folder)
    if not files:
        raise InputError(f"{folder} is empty", found="a folder without files", do="give a folder with text files")
    extensions = {_extension(file) for _, file in files}
    if extensions & _CRAWL_EXTENSIONS and not extensions & set(_TABLE_EXTENSIONS):
        return "crawl"
    # A file beside the folders, be it classes.txt, says that the folders are no classes.
    beside_folders = not all("/" in inside for inside, _ in files_in(folder))
    try:
        first = detect_format(files[0][1], text_columns)
    except InputError:
        first = "text"
    if first in CRAWL_FORMATS:
        return "crawl"
    if beside_folders:
        return "folder"
    # AA/wiki_00 and 2024/data.jsonl lie in folders that name no class; of csv only the extension is sure.
    tables = first in ("wiki", "mediawiki", "jsonl", "parquet") or _EXTENSIONS.get(_extension(files[0][1])) in (
        "csv",
        "tsv",
    )
    return "folder" if tables else "classes"


def _by_content(path: Location, head: bytes) -> Format | None:  # noqa: PLR0911 - one line a format
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"WARC/"):
        return "warc"
    if head.startswith(b"filedesc://"):
        return "arc"
    # A page may be in any encoding: what it is read in is settled page by page.
    if _extension(path) in _HTML_EXTENSIONS:
        return "html"
    if head.startswith(_WIDE_BOMS):
        do = f"convert it: iconv -f UTF-16 -t UTF-8 {path.name}"
        raise InputError(f"{path} is not UTF-8 text", found="the mark of UTF-16 or UTF-32 at its start", do=do)
    # Text may hold a stray NUL; a file of numbers or pictures holds many in its first 64 KiB.
    if head.count(b"\0") > len(head) // 100:
        do = "give CSV, JSONL, Parquet, WARC or UTF-8 text"
        raise InputError(f"{path} is not text", found="binary data (NUL bytes)", do=do)
    if head.lstrip().startswith(b"[") and _extension(path) == ".json":
        do = f"write one object a line: jq -c '.[]' {path.name}"
        raise InputError(f"{path} is a JSON array", found="[ at its start", do=do)
    opening = head.removeprefix(codecs.BOM_UTF8).lstrip().partition(b"\n")[0]
    if WIKI_OPENING.fullmatch(opening):
        return "wiki"
    if opening.startswith(b"<mediawiki"):
        return "mediawiki"
    return "html" if _HTML_OPENING.match(head.removeprefix(codecs.BOM_UTF8)) else None


def _extension(path: Location) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    plain = [suffix for suffix in suffixes if suffix not in COMPRESSION_SUFFIXES]
    return plain[-1] if plain else ""


def _by_first_line(head: bytes, text_columns: list[str]) -> Format:
    # Blank in Unicode's eyes, such as U+001C, is not always blank in those of bytes: there may be no line left.
    line, *more = head.decode("utf-8-sig", "replace").lstrip().splitlines() or [""]
    # A first line longer than the head cannot be parsed; it is taken for an object by its first characters.
    if _is_object(line) or (not more and len(head) == _HEAD_BYTES and _JSON_OPENING.match(line)):
        return "jsonl"
    fields = next(csv.reader([line]), [])
    named = all(column in fields for column in text_columns)
    labelled = len(fields) > 1 and fields[0].strip().lstrip("-").isdecimal()
    return "csv" if named or labelled else "text"


def _is_object(line: str) -> bool:
    try:
        return line.startswith("{") and isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
