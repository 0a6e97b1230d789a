"""What p_L predicts on a data set, on disk: written once, memory-mapped; asks no model.

One safetensors file. `argmax` is `(N,)` over the N target tokens of all examples in order,
2 bytes each where the vocabulary allows, else 4: all that the CAT-Xent losses need. With
`top_k` > 0 come `top_ids` `(N, k)` and `top_logprobs` `(N, k)` in float16, for the
distillation losses; the mass outside the top k is theirs to handle (see `losses`). Where an
example's tokens begin follows from the data, so that it is not stored; that it is the same
data, tokenizer and teacher, and undamaged, is checked by digests when the file is opened.
`cache_writer` writes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from escalade.edge.base import UNDECODABLE
from escalade.training.errors import CacheError
from escalade.training.examples import ExampleList, target_counts
from escalade.training.examples import fingerprint as data_fingerprint
from escalade.training.losses import IGNORE, Predictions
from escalade.training.teachers.teacher import at_targets, targets_of
from escalade.v1 import cascade_pb2 as pb

SCHEMA = "1"
#: Of the metadata: `digest_of` what was written; older files have none.
DIGEST = "sha256"
#: The widest vocabulary whose ids fit 2 bytes.
_UINT16_IDS = 1 << 16
_AGAIN = "delete it to have it written again"


class CacheKey(msgspec.Struct, frozen=True):
    """What a cache was made from: all of it must match for the cache to be used."""

    data: str
    tokenizer: str
    teacher: str
    revision: str
    vocabulary_size: int
    top_k: int
    seq2seq: bool
    examples: int
    tokens: int


class CachedTeacher:
    """Gives what a teacher said about a data set, from disk."""

    def __init__(self, path: Path, examples: ExampleList, *, tokenizer: str) -> None:
        """Map the file and check that it was made for this data.

        Args:
            path: the cache.
            examples: the data set, in the order the cache was written in.
            tokenizer: the student tokenizer's fingerprint.

        Raises:
            CacheError: it cannot be read, is damaged, or was made for other data or another
                tokenizer.
        """
        self.key = read_key(path)
        counts = target_counts(examples, seq2seq=self.key.seq2seq)
        wanted = {
            "examples": len(examples),
            "tokens": sum(counts),
            "tokenizer": tokenizer,
            "data": data_fingerprint(examples),
        }
        for name, value in wanted.items():
            if (found := getattr(self.key, name)) != value:
                raise CacheError(
                    f"{path}: made for other {'data' if name != 'tokenizer' else 'tokens'}:"
                    f" its {name} is {_short(found)}, here it is {_short(value)};"
                    f" {_AGAIN}"
                )
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        self._tensors = _whole(path, self.key)[0]

    @property
    def identity(self) -> pb.ModelIdentity:
        """Which model answered when the cache was written."""
        return pb.ModelIdentity(name=self.key.teacher, revision=self.key.revision)

    @property
    def vocabulary_size(self) -> int:
        """How wide its distributions were."""
        return self.key.vocabulary_size

    def predict(self, batch: Mapping[str, Tensor]) -> Predictions:
        """Look a batch up by its `example_index`.

        Raises:
            CacheError: the batch's examples are numbered otherwise than the cache's.
        """
        if "example_index" not in batch:
            raise CacheError("a prediction cache needs the column example_index in every example")
        mask = targets_of(batch["labels"], seq2seq=self.key.seq2seq) != IGNORE
        index = batch["example_index"].cpu().numpy()
        if len(index) and not 0 <= index.min() <= index.max() < self.key.examples:
            raise CacheError(
                f"example_index must be in [0, {self.key.examples - 1}],"
                f" got {index.min()} to {index.max()}"
            )
        starts, counts = self._starts[index], np.diff(self._starts)[index]
        if counts.sum() != int(mask.sum()):
            raise CacheError("example_index does not number the examples the cache was made for")
        # Row by row: where the row starts in the cache, plus 0, 1, 2, ... within the row.
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        places = np.repeat(starts, counts) + within

        def placed(name: str, kind: type[np.generic]) -> Tensor:
            return at_targets(torch.from_numpy(self._tensors[name][places].astype(kind)), mask)

        argmax = placed("argmax", np.int64)
        if "top_ids" not in self._tensors:
            return Predictions(argmax=argmax)
        return Predictions(
            argmax=argmax,
            top_ids=placed("top_ids", np.int64),
            top_logprobs=placed("top_logprobs", np.float32),
        )


def read_key(path: Path) -> CacheKey:
    """What a cache was made from.

    Raises:
        CacheError: the file is not a prediction cache of this version.
    """
    try:
        return msgspec.json.decode(_metadata(path).get("key", ""), type=CacheKey)
    except UNDECODABLE as error:
        raise CacheError(f"{path}: damaged: {error}; {_AGAIN}") from error


def cache_digest(path: Path) -> str:
    """The sha256 of what a cache says, in hexadecimal: the same however it was written down.

    Raises:
        CacheError: as `read_key`, or it is damaged.
    """
    return _whole(path, read_key(path))[1]


def digest_of(key: CacheKey, arrays: Mapping[str, NDArray[np.generic]]) -> str:
    """The same of what is to be written."""
    digest = hashlib.sha256(msgspec.json.encode(key))
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(arrays[name].data)
    return digest.hexdigest()


def layout_of(key: CacheKey) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
    """Shape and type of each array of a cache."""
    ids = np.uint16 if key.vocabulary_size <= _UINT16_IDS else np.int32
    layout: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {"argmax": ((key.tokens,), ids)}
    if key.top_k:
        layout["top_ids"] = ((key.tokens, key.top_k), ids)
        layout["top_logprobs"] = ((key.tokens, key.top_k), np.float16)
    return layout


def _whole(path: Path, key: CacheKey) -> tuple[dict[str, NDArray[np.generic]], str]:
    """All arrays of a cache, which stay views of the mapped file, and their digest.

    Raises:
        CacheError: they are not those that were written.
    """
    try:
        with safe_open(path, framework="pt") as file:
            arrays: dict[str, NDArray[np.generic]] = {
                name: file.get_tensor(name).numpy()
                for name in file.keys()  # noqa: SIM118
            }
    except (OSError, SafetensorError, TypeError) as error:  # of a type that numpy does not have
        raise CacheError(f"{path}: cannot be read: {error}; {_AGAIN}") from error
    found = {name: (array.shape, array.dtype.type) for name, array in arrays.items()}
    ids = [arrays[name] for name in ("argmax", "top_ids") if name in arrays]
    digest = digest_of(key, arrays) if found == layout_of(key) else ""
    written = _metadata(path).get(DIGEST, digest)
    unknown = any(array.size and array.max() >= key.vocabulary_size for array in ids)
    if not digest or written != digest or unknown:
        raise CacheError(f"{path}: damaged: holds something else than was written; {_AGAIN}")
    return arrays, digest


def _metadata(path: Path) -> dict[str, str]:
    """What stands beside the arrays.

    Raises:
        CacheError: the file is not a prediction cache of this version.
    """
    try:
        with safe_open(path, framework="np") as file:
            metadata: dict[str, str] = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise CacheError(f"{path}: cannot be read: {error}; {_AGAIN}") from error
    if metadata.get("schema") != SCHEMA:
        raise CacheError(f"{path}: not a prediction cache of schema {SCHEMA}; {_AGAIN}")
    return metadata


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 16 else text[:12]  # noqa: PLR2004 - a digest's first digits do
