"""The manifest of an artifact: what is in the folder and what it should answer; knows no runtime.

An artifact is a folder with `manifest.json`, `tokenizer.json` and a program. The manifest
names every file with its size and sha256, says who the model is, how it was quantized,
under which rule and threshold it defers, and what it must answer to a few golden prompts.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path, PurePosixPath
from typing import Literal

import msgspec

from escalade.edge.deferral import DeferralEntry, Table
from escalade.edge.errors import ArtifactError
from escalade.edge.files import sha256_of, write_aside
from escalade.edge.rules import rule_named

MANIFEST_SCHEMA = 2
MANIFEST_NAME = "manifest.json"
TOKENIZER_NAME = "tokenizer.json"
# A manifest is a few kilobytes; reading more than this would be somebody's attack.
_MAX_MANIFEST_BYTES = 1 << 20

_AT_LEAST_ONE = (
    "parameters",
    "vocabulary_size",
    "window",
    "max_new_tokens",
    "layers",
    "kv_heads",
    "head_dim",
)

Format = Literal["onnx", "executorch"]
Scheme = Literal["none", "float16", "int8", "int4", "dynamic-int8", "8da4w"]


class FileEntry(Table, frozen=True, kw_only=True):
    """A file of the artifact."""

    sha256: str
    bytes: int


class ChatEntry(Table, frozen=True, kw_only=True):
    """How a conversation becomes a prompt."""

    #: The file with the Jinja template, in the artifact.
    template: str
    #: Strings that templates name; empty where the model has none.
    bos_token: str = ""
    eos_token: str = ""


class ModelEntry(Table, frozen=True, kw_only=True):
    """Who the small model is, and what it can take."""

    name: str
    #: sha256 over the weight files it was exported from.
    revision: str
    tokenizer_fingerprint: str
    parameters: int
    vocabulary_size: int
    #: Longest prompt plus response, in tokens.
    window: int
    end_of_sequence_ids: list[int]
    #: How many tokens a response may have unless the caller says otherwise.
    max_new_tokens: int
    layers: int
    kv_heads: int
    head_dim: int
    #: Bytes of one number in the cache of keys and values.
    kv_bytes: int = 4
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
    files: dict[str, FileEntry]
    model: ModelEntry
    quantization: QuantizationEntry
    deferral: DeferralEntry
    golden: list[GoldenEntry]
    parity: ParityEntry
    versions: dict[str, str]
    created: str


def read_manifest(folder: Path) -> Manifest:
    """Read and check `manifest.json` and every file it names.

    Raises:
        ArtifactError: a file is missing, has another size or hash, the schema is another
            one, or a value is out of range. The message says which.
    """
    path = folder / MANIFEST_NAME
    try:
        with path.open("rb") as stream:
            raw = stream.read(_MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise ArtifactError(
            f"{folder}: not an artifact: {MANIFEST_NAME} cannot be read: {error.strerror}"
        ) from error
    if len(raw) > _MAX_MANIFEST_BYTES:
        raise ArtifactError(f"{path}: more than {_MAX_MANIFEST_BYTES} bytes")
    _check_schema(path, raw)
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except msgspec.DecodeError as error:
        raise ArtifactError(f"{path}: {error}") from error
    _check_values(path, manifest)
    for name, entry in manifest.files.items():
        _check_file(folder, name, entry)
    found = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    if unlisted := sorted(found - set(manifest.files) - {MANIFEST_NAME}):
        raise ArtifactError(f"{folder}: {unlisted[0]}: the manifest does not list it")
    fingerprint = tokenizer_fingerprint(folder / TOKENIZER_NAME)
    if fingerprint != manifest.model.tokenizer_fingerprint:
        raise ArtifactError(
            f"{folder / TOKENIZER_NAME}: fingerprint {fingerprint[:12]}, the model was exported"
            f" with {manifest.model.tokenizer_fingerprint[:12]}"
        )
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json`, aside and renamed."""
    with write_aside(folder / MANIFEST_NAME) as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")


def file_entry(path: Path) -> FileEntry:
    """The size and sha256 of a file as it is now."""
    return FileEntry(sha256=sha256_of(path), bytes=path.stat().st_size)


def weights_revision(model_dir: Path) -> str:
    """sha256 over the weight files in name order, as the cloud computes it (cascade.proto)."""
    return sha256_of(*sorted(model_dir.glob("*.safetensors")))


def tokenizer_fingerprint(path: Path) -> str:
    """sha256 of a tokenizer.json in canonical form, in hexadecimal.

    Padding and truncation are run-time settings, not identity: they are left out. The
    cloud computes the same value (cascade.proto, ModelIdentity).
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: not a tokenizer.json: {error}") from error
    if not isinstance(content, dict):
        raise ArtifactError(f"{path}: not a tokenizer.json: its top level must be an object")
    for runtime_setting in ("padding", "truncation"):
        content.pop(runtime_setting, None)
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _check_schema(path: Path, raw: bytes) -> None:
    """Look at the schema number alone: a newer one has fields that this version cannot name."""

    class Head(msgspec.Struct):
        schema: int

    try:
        found = msgspec.json.decode(raw, type=Head).schema
    except msgspec.DecodeError as error:
        raise ArtifactError(f"{path}: {error}") from error
    if found != MANIFEST_SCHEMA:
        raise ArtifactError(f"{path}: schema {found}; this version reads {MANIFEST_SCHEMA}")


def _check_values(path: Path, manifest: Manifest) -> None:
    def need(holds: bool, message: str) -> None:
        if not holds:
            raise ArtifactError(f"{path}: {message}")

    model = manifest.model
    for name in _AT_LEAST_ONE:
        need(getattr(model, name) >= 1, f"model.{name} must be at least 1")
    need(bool(model.end_of_sequence_ids), "model.end_of_sequence_ids is empty")
    last = model.vocabulary_size - 1
    for golden in manifest.golden:
        ids = (*golden.prompt_ids, *golden.token_ids)
        need(
            bool(golden.prompt_ids) and all(0 <= token_id <= last for token_id in ids),
            f"golden prompt {golden.prompt!r}: token ids must be there and in 0-{last}",
        )
        need(
            len(golden.prompt_ids) < model.window,
            f"golden prompt {golden.prompt!r}: longer than the window, {model.window}",
        )
    threshold = manifest.deferral.threshold
    need(threshold is None or math.isfinite(threshold), "deferral.threshold must be finite")
    try:
        rule_named(manifest.deferral.rule)
    except ValueError as error:
        raise ArtifactError(f"{path}: deferral.{error}") from error
    for name in (manifest.program, TOKENIZER_NAME):
        need(name in manifest.files, f"files does not list {name}")


def _check_file(folder: Path, name: str, entry: FileEntry) -> None:
    plain = PurePosixPath(name)
    if plain.name != name or name in {"", ".", ".."} or "\\" in name:
        raise ArtifactError(f"{folder}: file name {name!r} leaves the artifact's folder")
    path = folder / name
    if path.is_symlink() or not path.is_file():
        raise ArtifactError(f"{path}: missing, or not a regular file")
    size = path.stat().st_size
    if size != entry.bytes:
        raise ArtifactError(f"{path}: {size} bytes, the manifest says {entry.bytes}")
    digest = sha256_of(path)
    if digest != entry.sha256:
        raise ArtifactError(
            f"{path}: altered: sha256 {digest[:12]}, the manifest says {entry.sha256[:12]}"
        )
