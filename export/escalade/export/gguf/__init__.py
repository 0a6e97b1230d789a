"""GGUF, llama.cpp's file of a model: read and written, and its tokenizer; knows no manifest."""

from escalade.export.gguf.reading import GGUF_PROGRAM_NAME, GgufFile, kv_bytes_of, read_gguf
from escalade.export.gguf.tokenizer import end_ids, tokenizer_of
from escalade.export.gguf.trial import check_survives
from escalade.export.gguf.writing import write_gguf

__all__ = [
    "GGUF_PROGRAM_NAME",
    "GgufFile",
    "check_survives",
    "end_ids",
    "kv_bytes_of",
    "read_gguf",
    "tokenizer_of",
    "write_gguf",
]
