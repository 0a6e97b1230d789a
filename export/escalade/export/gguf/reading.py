"""Reads what a GGUF file says of its model, and refuses what is none that generates; no weights.

Keys are those of llama.cpp's specification (ggml, docs/gguf.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

from escalade.checkpoint import LONGEST_WINDOW, first_line
from escalade.edge.artifact import GgufScheme, Scheme
from escalade.export.errors import ModelError
from escalade.export.gguf.layout import MAGIC, check_layout

if TYPE_CHECKING:
    from gguf import GGUFReader

GGUF_PROGRAM_NAME = "model.gguf"
_SCHEMES: dict[str, Scheme] = {"all_f32": "none", "f32": "none", "f16": "float16"}
# What llama.cpp takes a file for that says no file type, by what most of its matrices are in.
_GUESSED: dict[str, Scheme] = {
    "q2_k": "q2_k", "q3_k": "q3_k_m", "q4_k": "q4_k_m", "q5_k": "q5_k_m",
}  # fmt: skip
# Written by T5's converters; llama.cpp reads them with an encoder.
_TWO_SIDED = {"t5", "t5encoder"}
_TOKENIZER_KIND = "tokenizer.ggml.model"
_NO_TOKENIZER = {"none", "no_vocab"}


class GgufFile(NamedTuple):
    """What a file says of its model."""

    architecture: str
    parameters: int
    #: Words of its tokenizer.
    vocabulary_size: int
    #: Longest prompt plus response that an artifact of it takes, in tokens.
    window: int
    layers: int
    #: Of the layer that has most.
    kv_heads: int
    #: Of keys or values, whichever is longer.
    head_dim: int
    #: Of the feed-forward network, of the layer where it is widest.
    inner: int
    scheme: Scheme
    #: How its matrices are stored, for people.
    detail: str


def read_gguf(path: Path) -> GgufFile:
    """What a GGUF file says of its model.

    Raises:
        ModelError: it is no such file, not whole, one of several, without a tokenizer, or of a
            model that is not known or does not generate.
    """
    reader = _opened(path)
    try:
        said = {
            name: field.contents()
            for name, field in reader.fields.items()
            if not name.startswith("tokenizer.ggml.") or name == _TOKENIZER_KIND
        }
    except ValueError as error:  # bytes that are no UTF-8
        raise ModelError(f"{path}: damaged: {first_line(error)}") from error
    architecture = _checked(path, said, reader)

    def number(name: str, default: int | None = None) -> int:
        found = said.get(f"{architecture}.{name}", default)
        several = found if isinstance(found, list) else [found]
        numbers = [one for one in several if isinstance(one, int)]
        if len(numbers) < len(several) or max(numbers, default=0) < 1:
            raise ModelError(
                f"{path}: {architecture}.{name} must be a whole number from 1 on, got {found!r}"
            )
        return max(numbers)

    heads = number("attention.head_count")
    width = number("embedding_length") // heads
    kinds = kinds_of(reader)
    return GgufFile(
        architecture=architecture,
        parameters=sum(int(one.n_elements) for one in reader.tensors),
        vocabulary_size=len(reader.fields["tokenizer.ggml.tokens"].data),
        window=min(number("context_length"), LONGEST_WINDOW),
        layers=number("block_count"),
        kv_heads=number("attention.head_count_kv", heads),
        head_dim=max(
            number("attention.key_length", width), number("attention.value_length", width)
        ),
        inner=number("feed_forward_length", 4 * width * heads),
        scheme=_scheme(path, said.get("general.file_type"), kinds),
        detail=f"GGUF, {in_words(kinds)}",
    )


def kv_bytes_of(scheme: Scheme) -> int:
    """Of one number in the cache: float32 programs answer in float32, others as llama.cpp does."""
    return 4 if scheme == "none" else 2


def kinds_of(reader: GGUFReader) -> Counter[str]:
    """How many matrices of a file are stored in each of ggml's types."""
    matrices = [one for one in reader.tensors if one.n_elements > max(one.shape, default=1)]
    return Counter(one.tensor_type.name for one in matrices)


def in_words(kinds: Counter[str]) -> str:
    """That, for people."""
    return "matrices in " + ", ".join(f"{kind} ({count})" for kind, count in kinds.most_common())


def _opened(path: Path) -> GGUFReader:
    try:
        with path.open("rb") as stream:
            begins = stream.read(len(MAGIC))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    if begins != MAGIC:
        raise ModelError(f"{path}: no GGUF file: it must begin with {MAGIC!r}, got {begins!r}")
    try:
        from gguf import GGML_QUANT_SIZES, GGUFReader
    except ImportError as error:
        raise ModelError(
            f"{path}: GGUF files are read with the extra, pip install 'escalade[gguf]' ({error})"
        ) from error
    check_layout(path, {kind.value: blocks for kind, blocks in GGML_QUANT_SIZES.items()})
    try:
        return GGUFReader(path)
    except Exception as error:  # of any kind, from numpy and from itself
        raise ModelError(f"{path}: cut short, or damaged: {first_line(error)}") from error


def _checked(path: Path, said: Mapping[str, object], reader: GGUFReader) -> str:
    """The architecture, of a file that is a whole model which generates."""
    from gguf import MODEL_ARCH_NAMES

    kind = said.get("general.type", "model")
    if kind != "model":
        raise ModelError(f"{path}: general.type must be model, got {kind!r}")
    shards = said.get("split.count", 1)
    if shards != 1:
        raise ModelError(
            f"{path}: one file of {shards}; put them together first (llama-gguf-split --merge)"
        )
    architecture = said.get("general.architecture")
    if architecture not in MODEL_ARCH_NAMES.values():
        raise ModelError(f"{path}: its architecture is not known: {architecture!r}")
    assert isinstance(architecture, str)  # noqa: S101 - the names are
    if architecture in _TWO_SIDED or said.get(f"{architecture}.attention.causal") is False:
        raise ModelError(f"{path}: a decoder is wanted, {architecture!r} is or has an encoder")
    model = said.get(_TOKENIZER_KIND)
    known = isinstance(model, str) and model not in _NO_TOKENIZER
    if not known or "tokenizer.ggml.tokens" not in reader.fields:
        raise ModelError(
            f"{path}: it holds no tokenizer ({_TOKENIZER_KIND}: {model}), so no text can be read"
        )
    if not reader.tensors:
        raise ModelError(f"{path}: it holds a tokenizer and no weights")
    return architecture


def _scheme(path: Path, file_type: object, kinds: Counter[str]) -> Scheme:
    from gguf import LlamaFileType

    names = {one.value: one.name.lower().removeprefix("mostly_") for one in LlamaFileType}
    # Where it says none, or one that is newer than this gguf.
    name = names.get(file_type, "guessed") if isinstance(file_type, int) else "guessed"
    if name == "guessed":
        name = kinds.most_common(1)[0][0].lower() if kinds else ""
        name = _GUESSED.get(name, name)
    if found := _SCHEMES.get(name):
        return found
    for known in get_args(GgufScheme):
        if name == known:
            scheme: Scheme = known
            return scheme
    raise ModelError(
        f"{path}: general.file_type {file_type} ({name or 'no matrices'}) is not known"
    )
