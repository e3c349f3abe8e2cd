"""What kind of file a source is: by its first bytes, then by its extension, then by its first line."""

from __future__ import annotations

import codecs
import csv
import json
from typing import TYPE_CHECKING, Literal

from ulmfit_dist.corpus.compression import COMPRESSION_SUFFIXES, DAMAGED_STREAM, OpenedFile
from ulmfit_dist.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

Format = Literal["csv", "tsv", "jsonl", "parquet", "text", "warc", "folder", "classes"]

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
_WIDE_BOMS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def detect_format(path: Path, text_columns: list[str]) -> Format:
    """Return what a source is. "classes": a folder of class-named folders; "folder": a folder of data files.

    Raises InputError, before any record is read, for a missing or empty file or folder, one that cannot be
    decompressed, binary data, UTF-16 or UTF-32, an ARC file or a JSON array.
    """
    if not path.exists():
        raise InputError(f"there is no source {path}", found="no such file or folder", do="check the path")
    if path.is_dir():
        return _folder_kind(path)
    head = _head(path)
    if not head.strip():
        found = "0 bytes" if not head else "only white space"
        raise InputError(f"{path} is empty", found=found, do="give a file with text in it")
    return _by_magic(path, head) or _EXTENSIONS.get(_extension(path)) or _by_first_line(head, text_columns)


def files_below(folder: Path) -> list[Path]:
    """Return the files of a folder, hidden ones and classes.txt left out, in the order of their relative paths."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != CLASSES_NAME)
    shown = (p for p in files if not any(part.startswith(".") for part in p.relative_to(folder).parts))
    return sorted(shown, key=lambda path: path.relative_to(folder).as_posix())


def _folder_kind(path: Path) -> Format:
    if not files_below(path):
        raise InputError(f"{path} is empty", found="a folder without files", do="give a folder with text files")
    entries = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
    return "classes" if all(entry.is_dir() for entry in entries) else "folder"


def _head(path: Path) -> bytes:
    try:
        with OpenedFile(path) as file:
            return file.stream.read(_HEAD_BYTES)
    except DAMAGED_STREAM as error:
        do = "check the file's permission, and that it was copied whole"
        raise InputError(f"cannot read {path}", found=str(error) or type(error).__name__, do=do) from error


def _by_magic(path: Path, head: bytes) -> Format | None:
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"WARC/"):
        return "warc"
    if head.startswith(b"filedesc://"):
        raise InputError(f"{path} is an ARC file", found="filedesc:// at its start", do="convert it to WARC first")
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
    return None


def _extension(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    plain = [suffix for suffix in suffixes if suffix not in COMPRESSION_SUFFIXES]
    return plain[-1] if plain else ""


def _by_first_line(head: bytes, text_columns: list[str]) -> Format:
    # Blank in Unicode's eyes, such as U+001C, is not always blank in those of bytes: there may be no line left.
    line = next(iter(head.decode("utf-8-sig", "replace").lstrip().splitlines()), "")
    if line.startswith("{") and _is_object(line):
        return "jsonl"
    fields = next(csv.reader([line]), [])
    named = all(column in fields for column in text_columns)
    labelled = len(fields) > 1 and fields[0].strip().lstrip("-").isdecimal()
    return "csv" if named or labelled else "text"


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
