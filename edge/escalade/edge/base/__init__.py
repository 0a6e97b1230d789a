"""What every package of the device may use: files, records, texts; knows no model."""

from escalade.edge.base.clock import Clock, SystemClock
from escalade.edge.base.files import (
    atomic_folder,
    atomic_write,
    check_replaceable,
    exchange,
    is_held,
    sha256_of,
    shared_lock,
    sync_folder,
    try_lock,
)
from escalade.edge.base.records import Record, iter_jsonl, read_records, subsample, write_records
from escalade.edge.base.text import nearest, pretty_json, utc_now
from escalade.edge.base.validation import (
    Count,
    Finite,
    OpenShare,
    Positive,
    Share,
    explain,
)

__all__ = [
    "Clock",
    "Count",
    "Finite",
    "OpenShare",
    "Positive",
    "Record",
    "Share",
    "SystemClock",
    "atomic_folder",
    "atomic_write",
    "check_replaceable",
    "exchange",
    "explain",
    "is_held",
    "iter_jsonl",
    "nearest",
    "pretty_json",
    "read_records",
    "sha256_of",
    "shared_lock",
    "subsample",
    "sync_folder",
    "try_lock",
    "utc_now",
    "write_records",
]
