"""Keeps the finished steps of a long export beside its artifact; knows not what they are.

An export that was interrupted, or killed, goes on from them: what they hang on (weights, text,
options, versions) is in their folder's name, so that no other export takes them for its own. A step
that was damaged is taken again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from escalade.checkpoint import CheckpointError
from escalade.edge.base import atomic_write, counted, is_held, shared_lock
from escalade.edge.errors import EdgeError, NoRoomError
from escalade.export.errors import ExportError

_SUFFIX = ".steps"
_DIGEST = "sha256"
_KEY_CHARACTERS = 16  # 64 bits: one folder beside another's of the same name


class Kept:
    """Tensors of steps by the steps' names; keeps nothing until it is told for what."""

    def __init__(self, out: Path | None = None) -> None:
        """Know where.

        Args:
            out: what is exported; None keeps nothing.
        """
        self._out = out
        self._folder: Path | None = None
        self._held = ExitStack()
        self._locks = True

    def begin(self, hangs_on: Mapping[str, object]) -> int:
        """Keep steps of an export from here on; returns how many there are from one before.

        Steps of other exports to the same place are thrown away, unless one of them runs now.

        Args:
            hangs_on: all that a step's result hangs on, as JSON takes it.
        """
        assert self._out is not None  # noqa: S101 - who keeps nothing begins nothing
        told = json.dumps(hangs_on, sort_keys=True).encode()
        key = hashlib.sha256(told).hexdigest()[:_KEY_CHARACTERS]
        target = self._out.resolve()
        self._folder = target.with_name(f".{target.name}.{key}{_SUFFIX}")
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._held.enter_context(shared_lock(self._folder))
        except (OSError, ImportError):  # there are no locks here
            self._locks = False
        self._throw_away()
        return len(self._steps())

    @property
    def in_words(self) -> str:
        """What is kept, for who comes to nothing; empty where nothing is."""
        count = len(self._steps())
        return f"; it keeps {counted(count, 'step')} beside it, to go on from" if count else ""

    def once(self, step: str, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        """What a step gave before, or gives now.

        Args:
            step: its name, one that a file may have.
            make: takes it.
        """
        if self._folder is None:
            return make()
        path = self._folder / f"{step}.safetensors"
        if (found := _read(path, step)) is not None:
            return found
        made = {name: value.contiguous() for name, value in make().items()}
        with atomic_write(path) as stream:
            stream.write(save(made, metadata={_DIGEST: _digest(step, made)}))
        return made

    def close(self) -> None:
        """Let others have the steps."""
        self._held.close()
        if self._folder is not None:
            with suppress(OSError):  # where there are some
                self._folder.rmdir()

    def clear(self) -> None:
        """Keep nothing of this export, unless another like it runs."""
        self._held.close()
        if self._out is not None:
            self._throw_away()

    def _throw_away(self) -> None:
        for found in self._all():
            if not (self._locks and is_held(found)):
                shutil.rmtree(found, ignore_errors=True)

    def _steps(self) -> list[Path]:
        return [] if self._folder is None else list(self._folder.glob("*.safetensors"))

    def _all(self) -> list[Path]:
        assert self._out is not None  # noqa: S101 - the callers have looked
        target = self._out.resolve()
        begun = f".{target.name}."
        return [
            found
            for found in target.parent.glob(f".*{_SUFFIX}")
            if found.name.startswith(begun)
            and len(found.name) == len(begun) + _KEY_CHARACTERS + len(_SUFFIX)
        ]


def _read(path: Path, step: str) -> dict[str, Tensor] | None:
    """What a step gave; None where it is not done, or is no longer what was written."""
    try:
        with safe_open(path, framework="pt") as file:
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            written = (file.metadata() or {}).get(_DIGEST)
    except (OSError, SafetensorError):
        return None
    return found if written == _digest(step, found) else None


def _digest(step: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(step.encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {[*value.shape]}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


@contextmanager
def kept_beside(out: Path) -> Iterator[Kept]:
    """Steps of an export to `out`; they go if it ends or fails.

    They stay if it is interrupted, or there is no room for the rest: the error then says so.
    """
    kept = Kept(out)
    try:
        yield kept
        kept.clear()
    except NoRoomError as error:
        raise NoRoomError(f"{error}{kept.in_words}") from error
    except (ExportError, EdgeError, CheckpointError):  # it would fail again
        kept.clear()
        raise
    finally:
        kept.close()
