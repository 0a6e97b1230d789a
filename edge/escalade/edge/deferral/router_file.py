"""The file of a router: one JSON object of float32 arrays; knows no score."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from escalade.edge.base import UNDECODABLE, atomic_write, pretty_json
from escalade.edge.errors import ArtifactError

ROUTER_SCHEMA = 1
# Room for 2048 inputs (appendix B) and 1024 hidden units; it bounds what opening a file may cost.
_MAX_FILE_BYTES = 1 << 24
_FLOAT = np.dtype("<f4")

#: A linear layer: weight `(outputs, inputs)`, as torch has it, and bias `(outputs,)`.
Arrays = tuple[NDArray[np.float32], NDArray[np.float32]]


class RouterFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file. Numbers are float32, little-endian, row by row, in base64."""

    schema: int
    #: Inputs, hidden units of each layer, and 1 for the logit.
    widths: list[int]
    weights: list[bytes]
    biases: list[bytes]
    #: Of this object as JSON without white space, with `sha256` empty.
    sha256: str = ""


def write_layers(path: Path, layers: Sequence[Arrays]) -> None:
    """Write the layers of a router, from the inputs to the logit; aside and renamed.

    Raises:
        DataError: the file cannot be written.
    """
    unsigned = RouterFile(
        schema=ROUTER_SCHEMA,
        widths=[layers[0][0].shape[1], *(weight.shape[0] for weight, _ in layers)],
        weights=[weight.astype(_FLOAT).tobytes() for weight, _ in layers],
        biases=[bias.astype(_FLOAT).tobytes() for _, bias in layers],
    )
    signed = msgspec.structs.replace(unsigned, sha256=_digest(unsigned))
    with atomic_write(path) as stream:
        stream.write(pretty_json(signed))


def read_layers(path: Path) -> list[Arrays]:
    """Read them.

    Raises:
        ArtifactError: the file cannot be read, is too large, of another schema, altered, or
            its numbers do not fit its widths. The message says which.
    """
    content = _decode(path, _read(path))
    if content.sha256 != _digest(content):
        raise ArtifactError(f"{path}: altered: the sha256 it carries is not its own")
    try:
        return _layers(content)
    except ValueError as error:
        raise ArtifactError(f"{path}: {error}") from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            raw = stream.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error.strerror}") from error
    if len(raw) > _MAX_FILE_BYTES:
        raise ArtifactError(f"{path}: more than {_MAX_FILE_BYTES} bytes; not a router")
    return raw


def _decode(path: Path, raw: bytes) -> RouterFile:
    class Head(msgspec.Struct):
        schema: int

    try:
        # The number alone first: a newer schema has fields that this version cannot name.
        schema = msgspec.json.decode(raw, type=Head).schema
        if schema != ROUTER_SCHEMA:
            raise ArtifactError(f"{path}: schema {schema}; this version reads {ROUTER_SCHEMA}")
        return msgspec.json.decode(raw, type=RouterFile)
    except UNDECODABLE as error:
        raise ArtifactError(f"{path}: not a router: {error}") from error


def _digest(content: RouterFile) -> str:
    unsigned = msgspec.structs.replace(content, sha256="")
    return hashlib.sha256(msgspec.json.encode(unsigned)).hexdigest()


def _layers(content: RouterFile) -> list[Arrays]:
    """The arrays, where every byte string is as long as the widths say.

    Raises:
        ValueError: one is not.
    """
    widths = content.widths
    count = len(widths) - 1
    if count < 1 or {len(content.weights), len(content.biases)} != {count}:
        raise ValueError(
            "widths must be 2 or more, with a layer between each two; got"
            f" {len(widths)} widths, {len(content.weights)} weights, {len(content.biases)} biases"
        )
    if min(widths) < 1:
        raise ValueError(f"widths must be at least 1, got {min(widths)}")
    layers: list[Arrays] = []
    for index, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        weight, bias = content.weights[index], content.biases[index]
        wanted = (inputs * outputs * _FLOAT.itemsize, outputs * _FLOAT.itemsize)
        if (len(weight), len(bias)) != wanted:
            raise ValueError(
                f"layer {index}: weight and bias of {len(weight)} and {len(bias)} bytes; widths"
                f" {inputs} and {outputs} need {wanted[0]} and {wanted[1]}"
            )
        layers.append(
            (np.frombuffer(weight, _FLOAT).reshape(outputs, inputs), np.frombuffer(bias, _FLOAT))
        )
    return layers
