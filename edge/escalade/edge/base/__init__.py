"""What every package of the device may use: files, records, texts; knows no model."""

from escalade.edge.base.aside import folder_beside
from escalade.edge.base.clock import Clock, SystemClock
from escalade.edge.base.database import Database, mark_of
from escalade.edge.base.files import (
    exclusive_lock,
    is_held,
    lock_alone,
    sha256_of,
    shared_lock,
    sync_folder,
    try_lock,
)
from escalade.edge.base.folders import atomic_folder, check_fillable, check_replaceable, exchange
from escalade.edge.base.jsonl import UNDECODABLE, Digest, iter_jsonl, jsonl_lines, read_text
from escalade.edge.base.records import (
    Record,
    named,
    naming,
    read_record_file,
    read_records,
    subsample,
    write_records,
)
from escalade.edge.base.text import (
    counted,
    listed,
    nearest,
    pretty_json,
    source_name,
    text_of,
    utc_now,
)
from escalade.edge.base.validation import (
    Count,
    Finite,
    OpenShare,
    Positive,
    Seed,
    Share,
    explain,
)
from escalade.edge.base.writing import atomic_write, check_writable

__all__ = [
    "UNDECODABLE",
    "Clock",
    "Count",
    "Database",
    "Digest",
    "Finite",
    "OpenShare",
    "Positive",
    "Record",
    "Seed",
    "Share",
    "SystemClock",
    "atomic_folder",
    "atomic_write",
    "check_fillable",
    "check_replaceable",
    "check_writable",
    "counted",
    "exchange",
    "exclusive_lock",
    "explain",
    "folder_beside",
    "is_held",
    "iter_jsonl",
    "jsonl_lines",
    "listed",
    "lock_alone",
    "mark_of",
    "named",
    "naming",
    "nearest",
    "pretty_json",
    "read_record_file",
    "read_records",
    "read_text",
    "sha256_of",
    "shared_lock",
    "source_name",
    "subsample",
    "sync_folder",
    "text_of",
    "try_lock",
    "utc_now",
    "write_records",
]
