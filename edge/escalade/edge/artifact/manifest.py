"""The manifest of an artifact: what is in the folder and what it should answer; knows no runtime.

An artifact is a folder with `manifest.json`, `tokenizer.json` and a program. The manifest
names every file with its size and sha256, says who the model is, how it was quantized,
under which rule and threshold it defers, and what it must answer to a few golden prompts. A
classifier's names its labels too; a linear one has no tokenizer.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec

from escalade.edge.artifact.budget import BudgetEntry
from escalade.edge.artifact.embedding import EmbeddingEntry
from escalade.edge.artifact.integrity import (
    check_file,
    check_listing,
    check_nothing_else,
    read_bounded,
)
from escalade.edge.base import atomic_write, explain, pretty_json, sha256_of
from escalade.edge.classification import ClassificationEntry, LinearEntry, check_classification
from escalade.edge.deferral import DeferralEntry, Table, check_deferral
from escalade.edge.errors import ArtifactError
from escalade.v1.identity import tokenizer_fingerprint

MANIFEST_SCHEMA = 2
MANIFEST_NAME = "manifest.json"
TOKENIZER_NAME = "tokenizer.json"
#: Signs the manifest, which names everything else; so the manifest cannot name it.
SIGNATURE_NAME = "model.sig"
#: A manifest is a few kilobytes; reading more than this would be somebody's attack.
MAX_MANIFEST_BYTES = 1 << 20


def _positive(most: int) -> msgspec.Meta:
    """From 1 to what no model comes near, so that no product surprises who allocates by it.

    Today's largest have 2T parameters, 10M tokens of window, 0.3M of vocabulary.
    """
    return msgspec.Meta(ge=1, le=most)


Format = Literal["onnx", "executorch", "linear", "gguf"]
#: How the weights of programs that export makes are stored.
OwnScheme = Literal["none", "float16", "int8", "int4", "dynamic-int8", "8da4w"]
#: Those of a GGUF file from elsewhere: llama.cpp's names of its file types, in lower case.
GgufScheme = Literal[
    "bf16", "q1_0", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0",
    "q2_k", "q2_k_s", "q3_k_s", "q3_k_m", "q3_k_l", "q4_k_s", "q4_k_m", "q5_k_s", "q5_k_m", "q6_k",
    "iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq2_m", "iq3_xxs", "iq3_xs", "iq3_s", "iq3_m",
    "iq4_nl", "iq4_xs", "tq1_0", "tq2_0", "mxfp4_moe", "nvfp4",
]  # fmt: skip
Scheme = OwnScheme | GgufScheme


class FileEntry(Table, frozen=True, kw_only=True):
    """A file of the artifact."""

    sha256: str
    bytes: int


class ChatEntry(Table, frozen=True, kw_only=True):
    """How a conversation becomes a prompt."""

    #: The file with the Jinja template, in the artifact.
    template: str
    #: What templates know special tokens by: `bos_token`, `eos_token`, or names of the model's own.
    special_tokens: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    #: Two of them, in manifests that were written before all were; empty where there are none.
    bos_token: str = ""
    eos_token: str = ""


class ModelEntry(Table, frozen=True, kw_only=True):
    """Who the small model is, and what it can take."""

    name: str
    #: sha256 over the weight files it was exported from.
    revision: str
    #: Of a linear model that of its features.
    tokenizer_fingerprint: str
    #: Of a classifier without the tables of which a token takes a row.
    parameters: Annotated[int, _positive(1 << 44)]
    vocabulary_size: Annotated[int, _positive(1 << 24)]
    #: Longest prompt plus response, in tokens; a classifier reads no more of a text.
    window: Annotated[int, _positive(1 << 24)]
    end_of_sequence_ids: list[int]
    #: How many tokens a response may have unless the caller says otherwise.
    max_new_tokens: Annotated[int, _positive(1 << 24)]
    layers: Annotated[int, _positive(1 << 12)]
    kv_heads: Annotated[int, _positive(1 << 12)]
    head_dim: Annotated[int, _positive(1 << 14)]
    #: Numbers for each token in the widest result between layers.
    widest: Annotated[int, _positive(1 << 20)]
    #: Bytes of one number in the cache of keys and values.
    kv_bytes: Annotated[int, _positive(8)] = 4
    #: What the decoder of an encoder-decoder begins with; None for a decoder alone.
    decoder_start_id: int | None = None
    chat: ChatEntry | None = None


class QuantizationEntry(Table, frozen=True, kw_only=True):
    """How the weights are stored."""

    scheme: Scheme
    #: Input values that share one scale; None where the scheme has no blocks.
    block_size: int | None = None
    #: In words, for people.
    detail: str
    #: Where each matrix has bits and blocks of its own; manifests of other programs lack it.
    budget: BudgetEntry | msgspec.UnsetType = msgspec.UNSET


class ParityEntry(Table, frozen=True, kw_only=True):
    """The exported program held against torch on the golden prompts, at export time."""

    prompts: int
    #: Prompts whose every token is torch's greedy choice.
    same_tokens: int
    #: Mean over prompts of |NLL of the program - NLL under torch|, of each one's own answer.
    mean_abs_delta_nll: float
    max_abs_delta_nll: float


class GoldenEntry(Table, frozen=True, kw_only=True):
    """A prompt and what this program answers to it."""

    prompt: str
    prompt_ids: list[int]
    #: Generated ids, the end-of-sequence token included.
    token_ids: list[int]
    #: Mean NLL of those tokens.
    nll: float


class Manifest(Table, frozen=True, kw_only=True):
    """Everything the edge needs to know before it opens a program."""

    schema: int
    format: Format
    #: File that generates: the decoder, where there is an encoder too.
    program: str
    #: File of the encoder; None for a decoder alone.
    encoder: str | None = None
    #: Of a classifier; manifests of other models do not have it.
    classification: ClassificationEntry | msgspec.UnsetType = msgspec.UNSET
    #: Of a sentence encoder, likewise.
    embedding: EmbeddingEntry | msgspec.UnsetType = msgspec.UNSET
    files: dict[str, FileEntry]
    model: ModelEntry
    quantization: QuantizationEntry
    deferral: DeferralEntry
    golden: list[GoldenEntry]
    parity: ParityEntry
    versions: dict[str, str]
    created: str

    @property
    def total_bytes(self) -> int:
        """Of all files."""
        return sum(entry.bytes for entry in self.files.values())

    @property
    def classifier(self) -> ClassificationEntry | None:
        """What makes it one; None of a model that generates."""
        return self.classification or None

    @property
    def reads_once(self) -> bool:
        """Whether a text is read whole, in one piece, and as much of it as its window takes."""
        return bool(self.classification or self.embedding)

    @property
    def linear(self) -> LinearEntry | None:
        """What makes it a linear classifier, which has no tokenizer; None of any other model."""
        return self.classification.linear if self.classification else None


def read_manifest(folder: Path) -> Manifest:
    """Read and check `manifest.json` and every file it names.

    Raises:
        ArtifactError: a file is missing, no regular file, has another size or hash, or is not
            listed; the schema is another one, or a value is out of range. The message says
            which.
    """
    manifest = load_manifest(folder)
    check_files(folder, manifest)
    return manifest


def load_manifest(folder: Path) -> Manifest:
    """Read `manifest.json`; the files it names are not looked at.

    Raises:
        ArtifactError: it is missing, no regular file, too long, or see `parse_manifest`.
    """
    path = folder / MANIFEST_NAME
    if not os.path.lexists(path):
        raise ArtifactError(f"{folder}: not an artifact: {MANIFEST_NAME} cannot be read: missing")
    return parse_manifest(read_bounded(path, MAX_MANIFEST_BYTES), path)


def check_files(folder: Path, manifest: Manifest) -> None:
    """Hold every file of an artifact against its manifest.

    Raises:
        ArtifactError: see `read_manifest`.
    """
    for name, entry in manifest.files.items():
        check_file(folder / name, entry.bytes, entry.sha256)
    check_nothing_else(folder, {*manifest.files, MANIFEST_NAME, SIGNATURE_NAME})
    if manifest.linear is not None:
        return
    try:
        fingerprint = tokenizer_fingerprint(folder / TOKENIZER_NAME)
    except (OSError, ValueError) as error:
        raise ArtifactError(str(error)) from error
    if fingerprint != manifest.model.tokenizer_fingerprint:
        raise ArtifactError(
            f"{folder / TOKENIZER_NAME}: fingerprint {fingerprint[:12]}, the model was exported"
            f" with {manifest.model.tokenizer_fingerprint[:12]}"
        )


def parse_manifest(raw: bytes, where: object) -> Manifest:
    """Read a manifest out of its bytes; the files it names are not looked at.

    Args:
        raw: at most `MAX_MANIFEST_BYTES`, as the caller has seen to.
        where: what the bytes came from, for messages.

    Raises:
        ArtifactError: it is not UTF-8 JSON of this schema, or a value is out of range.
    """
    try:
        # Alone and first: a newer schema has fields that this version cannot name.
        found = msgspec.json.decode(raw, type=_Head).schema
        if found != MANIFEST_SCHEMA:
            raise ArtifactError(
                f"{where}: schema {str(found)[:24]}; this version reads {MANIFEST_SCHEMA}"
            )
        manifest = msgspec.json.decode(raw, type=Manifest)
    except msgspec.ValidationError as error:
        raise ArtifactError(f"{where}: {explain(error, raw, Manifest)}") from error
    except (ValueError, RecursionError) as error:  # no JSON, or no UTF-8
        raise ArtifactError(f"{where}: {error}") from error
    _check_values(where, manifest)
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json`, aside and renamed."""
    with atomic_write(folder / MANIFEST_NAME) as stream:
        stream.write(pretty_json(manifest))


def file_entry(path: Path) -> FileEntry:
    """The size and sha256 of a file as it is now."""
    return FileEntry(sha256=sha256_of(path), bytes=path.stat().st_size)


class _Head(msgspec.Struct):
    schema: int


def _check_values(where: object, manifest: Manifest) -> None:
    def need(holds: bool, message: str) -> None:
        if not holds:
            raise ArtifactError(f"{where}: {message}")

    check_listing(
        where, ((name, entry.bytes, entry.sha256) for name, entry in manifest.files.items())
    )
    listed = {name.lower() for name in manifest.files}  # some file systems know no case
    for name in (MANIFEST_NAME, SIGNATURE_NAME):
        need(name not in listed, f"files must not list {name}")
    model = manifest.model
    named = [manifest.program]
    if manifest.linear is None:
        named.append(TOKENIZER_NAME)
    if manifest.encoder is not None:
        named.append(manifest.encoder)
    if model.chat is not None:
        named.append(model.chat.template)
    for name in named:
        need(name in manifest.files, f"files does not list {repr(name[:80])[1:-1]}")
    need(model.name.isprintable(), f"model.name must be printable, got {model.name[:80]!r}")
    if manifest.classification:
        _check_classifier(where, manifest, manifest.classification)
    elif manifest.embedding:
        need(
            manifest.format == "onnx" and manifest.encoder is None and not manifest.golden,
            "a sentence encoder must be of format onnx, of one program, and have no golden answer",
        )
    else:
        need(manifest.format != "linear", "format linear is for a classifier")
        need(
            manifest.format != "gguf" or manifest.encoder is None,
            "a program of format gguf must be a decoder alone",
        )
        need(bool(model.end_of_sequence_ids), "model.end_of_sequence_ids is empty")
    scheme = manifest.quantization.scheme
    need(
        manifest.format == "gguf" or scheme in get_args(OwnScheme),
        f"quantization.scheme {scheme} is of format gguf, got {manifest.format}",
    )
    last = model.vocabulary_size - 1
    for golden in manifest.golden:
        shown = f"golden prompt {golden.prompt[:80]!r}"
        answers = last
        if manifest.classification:
            answers = len(manifest.classification.labels) - 1
        wordless = manifest.linear is not None and not golden.prompt_ids
        for ids, most in ((golden.prompt_ids, last), (golden.token_ids, answers)):
            need(
                (bool(ids) or (wordless and ids is golden.prompt_ids))
                and all(0 <= token_id <= most for token_id in ids),
                f"{shown}: token ids must be there and in 0-{most}",
            )
        need(
            len(golden.prompt_ids) < model.window + bool(manifest.classification),
            f"{shown}: longer than the window, {model.window}",
        )
    need(
        not (manifest.classification and manifest.embedding),
        "classification and embedding: an artifact has one of them",
    )
    need(
        not manifest.deferral.kernels or manifest.format == "onnx",
        f"deferral.kernels is of format onnx, got {manifest.format}",
    )
    try:
        check_deferral(manifest.deferral, manifest.files)
    except ValueError as error:
        raise ArtifactError(f"{where}: deferral.{error}") from error


def _check_classifier(where: object, manifest: Manifest, entry: ClassificationEntry) -> None:
    try:
        check_classification(entry)
    except ValueError as error:
        raise ArtifactError(f"{where}: classification.{error}") from error
    wanted: Format = "onnx" if entry.linear is None else "linear"
    if manifest.format != wanted or manifest.encoder is not None:
        raise ArtifactError(
            f"{where}: format of this classifier must be {wanted}, of one program; got"
            f" {manifest.format}"
        )
    if entry.linear is None:
        return
    features, model = entry.linear.features, manifest.model
    found = (model.vocabulary_size, model.tokenizer_fingerprint)
    if found != (features.buckets, features.fingerprint):
        raise ArtifactError(
            f"{where}: model.vocabulary_size and tokenizer_fingerprint must be"
            f" {features.buckets} and {features.fingerprint[:12]} by its features, got"
            f" {found[0]} and {found[1][:12]!r}"
        )
