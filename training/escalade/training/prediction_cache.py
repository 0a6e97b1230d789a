"""What p_L predicts on a data set, on disk: written once, memory-mapped; knows no model.

One safetensors file. `argmax` is `(N,)` over the N target tokens of all examples in order,
2 bytes each where the vocabulary allows, else 4: all that the CAT-Xent losses need. With
`top_k` > 0 come `top_ids` `(N, k)` and `top_logprobs` `(N, k)` in float16, for the
distillation losses; the mass outside the top k is theirs to handle (see `losses`). Where an
example's tokens begin follows from the data, so that it is not stored; that it is the same
data, tokenizer and teacher is checked by fingerprint when the file is opened.

Writing goes on after a cut: finished windows of examples lie in `PATH.part/`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

from escalade.training.errors import CacheError
from escalade.training.examples import Collator, ExampleList, target_counts
from escalade.training.examples import fingerprint as data_fingerprint
from escalade.training.losses import IGNORE, Predictions
from escalade.training.teacher import Teacher, TeacherIdentity, targets_of

_SCHEMA = "1"
#: Examples between two points from which writing can go on.
_WINDOW = 4096
#: The widest vocabulary whose ids fit 2 bytes.
_UINT16_IDS = 1 << 16
_LEAST_FLOAT16 = -65504.0

Progress = Callable[[int, int], None]


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
            CacheError: it cannot be read, or was made for other data or another tokenizer.
        """
        self.key = read_key(path)
        counts = target_counts(examples)
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
                    " delete it to have it written again"
                )
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        with safe_open(path, framework="pt") as file:
            # The tensors stay views of the mapped file after it is closed.
            self._tensors: dict[str, NDArray[np.generic]] = {
                name: file.get_tensor(name).numpy()
                for name in file.keys()  # noqa: SIM118
            }

    @property
    def identity(self) -> TeacherIdentity:
        """Which model answered when the cache was written."""
        return TeacherIdentity(self.key.teacher, self.key.revision, self.key.vocabulary_size)

    def predict(self, batch: Mapping[str, Tensor]) -> Predictions:
        """Look a batch up by its `example_index`.

        Raises:
            CacheError: the batch's examples are numbered otherwise than the cache's.
        """
        if "example_index" not in batch:
            raise CacheError("a prediction cache needs the column example_index in every example")
        labels = batch["labels"]
        mask = targets_of(labels, seq2seq=self.key.seq2seq) != IGNORE
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

        def placed(name: str, kind: torch.dtype) -> Tensor:
            stored = self._tensors[name][places]
            values = torch.from_numpy(
                stored.astype(np.int64 if kind == torch.int64 else np.float32)
            )
            out = torch.zeros((*mask.shape, *values.shape[1:]), dtype=kind, device=labels.device)
            out[mask] = values.to(labels.device)
            return out

        if "top_ids" not in self._tensors:
            return Predictions(argmax=placed("argmax", torch.int64))
        return Predictions(
            argmax=placed("argmax", torch.int64),
            top_ids=placed("top_ids", torch.int64),
            top_logprobs=placed("top_logprobs", torch.float32),
        )


def read_key(path: Path) -> CacheKey:
    """What a cache was made from.

    Raises:
        CacheError: the file is not a prediction cache of this version.
    """
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise CacheError(f"{path}: cannot be read: {error}") from error
    if metadata.get("schema") != _SCHEMA:
        raise CacheError(f"{path}: not a prediction cache of schema {_SCHEMA}")
    try:
        return msgspec.json.decode(metadata.get("key", ""), type=CacheKey)
    except msgspec.DecodeError as error:
        raise CacheError(f"{path}: damaged: {error}") from error


def write_cache(
    path: Path,
    teacher: Teacher,
    examples: ExampleList,
    *,
    tokenizer: str,
    pad_token_id: int,
    top_k: int,
    seq2seq: bool = False,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    progress: Progress = lambda done, total: None,
) -> CacheKey:
    """Ask a teacher about every example and write what it says; goes on after a cut.

    Args:
        path: the file to write; replaced when all is there.
        teacher: whom to ask.
        examples: the data set.
        tokenizer: the student tokenizer's fingerprint.
        pad_token_id: for the batches.
        top_k: log-probabilities to keep for each token; 0 keeps the argmax alone.
        seq2seq: whether the examples are an encoder-decoder's.
        batch_size: examples asked about at once.
        device: where the teacher computes.
        progress: called with (examples done, examples in all).

    Raises:
        CacheError: `PATH.part/` holds the beginning of another cache.
        TeacherError: the teacher does not answer.
    """
    counts = target_counts(examples)
    starts = np.concatenate([[0], np.cumsum(counts)])
    who = teacher.identity
    key = CacheKey(
        data=data_fingerprint(examples),
        tokenizer=tokenizer,
        teacher=who.name,
        revision=who.revision,
        vocabulary_size=who.vocabulary_size,
        top_k=min(top_k, who.vocabulary_size),
        seq2seq=seq2seq,
        examples=len(examples),
        tokens=int(starts[-1]),
    )
    part = _Part(path.with_name(path.name + ".part"), key)
    collate = Collator(pad_token_id)
    done = part.examples_done
    while done < len(examples):
        end = min(done + _WINDOW, len(examples))
        # Batches of like length waste little on padding.
        order = sorted(range(done, end), key=lambda i: len(examples[i]["input_ids"]))
        for first in range(0, len(order), batch_size):
            chosen = order[first : first + batch_size]
            batch = {k: v.to(device) for k, v in collate([examples[i] for i in chosen]).items()}
            mask = targets_of(batch["labels"], seq2seq=seq2seq) != IGNORE
            places = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in chosen])
            part.put(places, _kept(teacher.predict(batch), mask, key.top_k))
            progress(done + first + len(chosen), len(examples))
        part.finish_window(end)
        done = end
    part.assemble(path)
    return key


def _kept(said: Predictions, mask: Tensor, top_k: int) -> dict[str, NDArray[np.generic]]:
    """What is stored of some predictions, target tokens only."""
    kept: dict[str, NDArray[np.generic]] = {"argmax": said.argmax[mask].cpu().numpy()}
    if top_k:
        if said.logits is not None:
            logprobs = said.logits[mask].float().log_softmax(dim=-1)
            values, ids = logprobs.topk(top_k, dim=-1)
        elif said.top_ids is not None and said.top_logprobs is not None:
            ids, values = said.top_ids[mask][:, :top_k], said.top_logprobs[mask][:, :top_k]
        else:
            raise CacheError(f"top_k is {top_k}, but the teacher gives no log-probabilities")
        kept["top_ids"] = ids.cpu().numpy()
        kept["top_logprobs"] = values.clamp(min=_LEAST_FLOAT16).cpu().numpy()
    return kept


class _Part:
    """The beginning of a cache: arrays on disk and how many examples they hold so far."""

    def __init__(self, folder: Path, key: CacheKey) -> None:
        self._folder, self._key = folder, key
        ids = np.uint16 if key.vocabulary_size <= _UINT16_IDS else np.int32
        shapes: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
            "argmax": ((key.tokens,), ids)
        }
        if key.top_k:
            shapes["top_ids"] = ((key.tokens, key.top_k), ids)
            shapes["top_logprobs"] = ((key.tokens, key.top_k), np.float16)
        self._progress = folder / "progress.json"
        if self._progress.exists():
            begun = json.loads(self._progress.read_bytes())
            if begun["key"] != msgspec.to_builtins(key):
                raise CacheError(
                    f"{folder}: the beginning of a cache for other data or another teacher;"
                    " delete it to start again"
                )
            self.examples_done = int(begun["examples_done"])
            mode = "r+"
        else:
            folder.mkdir(parents=True, exist_ok=True)
            self.examples_done, mode = 0, "w+"
        self._arrays = {
            name: np.lib.format.open_memmap(
                folder / f"{name}.npy", mode, None if mode == "r+" else kind, shape=shape
            )
            for name, (shape, kind) in shapes.items()
        }
        if mode == "w+":
            self.finish_window(0)

    def put(self, places: NDArray[np.int64], values: Mapping[str, NDArray[np.generic]]) -> None:
        for name, array in self._arrays.items():
            array[places] = values[name].astype(array.dtype)

    def finish_window(self, examples_done: int) -> None:
        for array in self._arrays.values():
            array.flush()
        state = {"key": msgspec.to_builtins(self._key), "examples_done": examples_done}
        aside = self._progress.with_suffix(".tmp")
        aside.write_text(json.dumps(state))
        aside.replace(self._progress)

    def assemble(self, path: Path) -> None:
        aside = self._folder / "whole.safetensors"
        metadata = {"schema": _SCHEMA, "key": msgspec.json.encode(self._key).decode()}
        save_file(dict(self._arrays), aside, metadata=metadata)
        aside.replace(path)
        shutil.rmtree(self._folder)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 16 else text[:12]  # noqa: PLR2004 - a digest's first digits do
