"""What every package of the device may use: files, records, texts; knows no model."""

from escalade.edge.base.files import (
    atomic_folder,
    atomic_write,
    check_replaceable,
    is_held,
    sha256_of,
    shared_lock,
    sync_folder,
)
from escalade.edge.base.records import Record, iter_jsonl, read_records, subsample, write_records

__all__ = [
    "Record",
    "atomic_folder",
    "atomic_write",
    "check_replaceable",
    "is_held",
    "iter_jsonl",
    "read_records",
    "sha256_of",
    "shared_lock",
    "subsample",
    "sync_folder",
    "write_records",
]
