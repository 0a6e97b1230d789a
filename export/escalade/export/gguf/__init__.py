"""GGUF, llama.cpp's file of a model: what it says and its tokenizer; knows no manifest."""

from escalade.export.gguf.reading import GGUF_MAGIC, GgufFile, read_gguf
from escalade.export.gguf.tokenizer import end_ids, tokenizer_of
from escalade.export.gguf.writing import FILE_TYPES, matrices_of, write_gguf

GGUF_PROGRAM_NAME = "model.gguf"

__all__ = [
    "FILE_TYPES",
    "GGUF_MAGIC",
    "GGUF_PROGRAM_NAME",
    "GgufFile",
    "end_ids",
    "matrices_of",
    "read_gguf",
    "tokenizer_of",
    "write_gguf",
]
