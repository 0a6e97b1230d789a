"""The bundled tasks and their tokenizer; knows no model."""

from escalade.training.data.tasks import (
    TASKS,
    Split,
    load_pronunciations,
    make_records,
    write_splits,
)
from escalade.training.data.tokenizer import save_tokenizer

__all__ = [
    "TASKS",
    "Split",
    "load_pronunciations",
    "make_records",
    "save_tokenizer",
    "write_splits",
]
