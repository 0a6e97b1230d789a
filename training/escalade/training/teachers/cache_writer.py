"""Asks a teacher about a data set and writes what it says as a prediction cache; trains nothing.

Writing goes on after a cut: finished windows of examples lie in `PATH.part/`. For the file see
`prediction_cache`.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch import Tensor

from escalade.edge.base import UNDECODABLE, atomic_write
from escalade.training.errors import CacheError
from escalade.training.examples import Collator, ExampleList, target_counts
from escalade.training.examples import fingerprint as data_fingerprint
from escalade.training.losses import IGNORE, Predictions
from escalade.training.teachers.prediction_cache import (
    DIGEST,
    SCHEMA,
    CacheKey,
    digest_of,
    layout_of,
)
from escalade.training.teachers.teacher import Teacher, targets_of

#: Examples between two points from which writing can go on.
_WINDOW = 4096
_LEAST_FLOAT16 = -65504.0
_AGAIN = "delete the folder to start again"

Progress = Callable[[int, int], None]


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
        CacheError: `PATH.part/` holds the beginning of another cache, or is damaged, or another
            process is writing it.
        TeacherError: the teacher does not answer.
    """
    counts = target_counts(examples, seq2seq=seq2seq)
    starts = np.concatenate([[0], np.cumsum(counts)])
    who = teacher.identity
    key = CacheKey(
        data=data_fingerprint(examples),
        tokenizer=tokenizer,
        teacher=who.name,
        revision=who.revision,
        vocabulary_size=teacher.vocabulary_size,
        top_k=min(top_k, teacher.vocabulary_size),
        seq2seq=seq2seq,
        examples=len(examples),
        tokens=int(starts[-1]),
    )
    folder = path.with_name(path.name + ".part")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "lock", timeout=0):
            part = _Part(folder, key, starts)
            _ask_the_rest(
                part, teacher, examples, starts, key, pad_token_id, batch_size, device, progress
            )
            part.assemble(path)
    except Timeout:
        raise CacheError(f"{path}: is being written by another process") from None
    return key


def _ask_the_rest(
    part: _Part,
    teacher: Teacher,
    examples: ExampleList,
    starts: NDArray[np.int64],
    key: CacheKey,
    pad_token_id: int,
    batch_size: int,
    device: torch.device | str,
    progress: Progress,
) -> None:
    """Ask about every example that is not in the part yet, a window at a time."""
    collate = Collator(pad_token_id)
    done = part.examples_done
    while done < len(examples):
        end = min(done + _WINDOW, len(examples))
        # Batches of like length waste little on padding.
        order = sorted(range(done, end), key=lambda i: len(examples[i]["input_ids"]))
        for first in range(0, len(order), batch_size):
            chosen = order[first : first + batch_size]
            batch = {k: v.to(device) for k, v in collate([examples[i] for i in chosen]).items()}
            mask = targets_of(batch["labels"], seq2seq=key.seq2seq) != IGNORE
            places = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in chosen])
            part.put(places, _kept(teacher.predict(batch), mask, key.top_k))
            progress(done + first + len(chosen), len(examples))
        part.finish_window(end)
        done = end


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


class _Progress(msgspec.Struct, frozen=True):
    """How far the beginning of a cache has come."""

    key: CacheKey
    examples_done: int
    #: For each finished window where it ends, in examples, and the sha256 of what it holds.
    windows: list[tuple[int, str]] = []


class _Part:
    """The beginning of a cache: arrays on disk and how many examples they hold so far."""

    def __init__(self, folder: Path, key: CacheKey, starts: NDArray[np.int64]) -> None:
        """Go on with what is there, or begin.

        Args:
            folder: of the beginning.
            key: what the cache is made from.
            starts: `(examples + 1,)`; where the tokens of each example begin.

        Raises:
            CacheError: it is another cache's, or damaged.
        """
        self._folder, self._key, self._starts = folder, key, starts
        self._path = folder / "progress.json"
        self._progress = _Progress(key, 0)
        self._arrays: dict[str, np.memmap[Any, Any]]
        layout = layout_of(key)
        if not self._path.exists():
            self._arrays = {
                name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", kind, shape=shape)
                for name, (shape, kind) in layout.items()
            }
            self.finish_window(0)
            return
        try:
            self._progress = msgspec.json.decode(self._path.read_bytes(), type=_Progress)
        except UNDECODABLE as error:
            raise CacheError(f"{self._path}: damaged: {error}; {_AGAIN}") from error
        if self._progress.key != key:
            raise CacheError(
                f"{folder}: the beginning of a cache for other data or another teacher;"
                " delete it to start again"
            )
        self._arrays = {name: self._open(name, *layout[name]) for name in layout}
        self._check()

    @property
    def examples_done(self) -> int:
        return self._progress.examples_done

    def put(self, places: NDArray[np.int64], values: Mapping[str, NDArray[np.generic]]) -> None:
        for name, array in self._arrays.items():
            array[places] = values[name].astype(array.dtype)

    def finish_window(self, examples_done: int) -> None:
        for array in self._arrays.values():
            array.flush()
        windows = [*self._progress.windows]
        if examples_done:
            digest = self._digest(self._progress.examples_done, examples_done)
            windows.append((examples_done, digest))
        self._progress = _Progress(self._key, examples_done, windows)
        with atomic_write(self._path) as stream:
            stream.write(msgspec.json.encode(self._progress))

    def assemble(self, path: Path) -> None:
        aside = self._folder / "whole.safetensors"
        metadata = {
            "schema": SCHEMA,
            "key": msgspec.json.encode(self._key).decode(),
            DIGEST: digest_of(self._key, self._arrays),
        }
        save_file(dict(self._arrays), aside, metadata=metadata)
        aside.replace(path.resolve())  # a link stays
        self._path.unlink()  # first: without it the rest is no beginning
        shutil.rmtree(self._folder)

    def _open(
        self, name: str, shape: tuple[int, ...], kind: type[np.generic]
    ) -> np.memmap[Any, Any]:
        path = self._folder / f"{name}.npy"
        try:
            array = np.lib.format.open_memmap(path, "r+")
        # What numpy raises of a header depends on which byte of it is another.
        except Exception as error:
            raise CacheError(f"{path}: damaged: cannot be read; {_AGAIN}") from error
        if array.shape != shape or array.dtype != kind:
            raise CacheError(f"{path}: damaged: holds another array; {_AGAIN}")
        return array

    def _check(self) -> None:
        """Refuse arrays that are not what they were when each window was finished."""
        begin = 0
        for end, digest in self._progress.windows:
            if not begin < end <= self._key.examples or self._digest(begin, end) != digest:
                raise CacheError(
                    f"{self._folder}: damaged: holds something else than was written; {_AGAIN}"
                )
            begin = end
        if self._progress.windows and begin != self.examples_done:
            raise CacheError(f"{self._path}: damaged: its windows end elsewhere; {_AGAIN}")

    def _digest(self, begin: int, end: int) -> str:
        """Of what is said of some examples."""
        digest, rows = hashlib.sha256(), slice(int(self._starts[begin]), int(self._starts[end]))
        for array in self._arrays.values():
            digest.update(array[rows].data)
        return digest.hexdigest()
