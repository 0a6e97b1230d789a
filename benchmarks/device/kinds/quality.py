"""What a kind lost to float32, teacher-forced; knows no speed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from benchmarks.device.build import REPOSITORY, say
from numpy.typing import NDArray

from escalade.edge.generation import Artifact
from escalade.edge.runtimes.onnx.decoder import OnnxRuntime


@dataclass(frozen=True, kw_only=True)
class Lost:
    """What a kind lost to float32."""

    mean_kl: float
    p99_kl: float
    same_argmax: float


def of_worker(command: Sequence[str], ids: list[int], threads: int) -> NDArray[np.float32]:
    """The logits `(N, V)` after each id, by a process that speaks as `wire` says."""
    say(f"reading {len(ids)} tokens with {command[-1]}")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "logits"
        asked = f"forced {out} {' '.join(map(str, ids))}\n"
        subprocess.run(
            [*command, str(threads)],
            input=asked, text=True, check=True, stdout=subprocess.PIPE, cwd=REPOSITORY,
        )  # fmt: skip
        return np.fromfile(out, dtype=np.float32).reshape(len(ids), -1)


def of_artifact(path: Path, ids: list[int]) -> NDArray[np.float32]:
    """The logits `(N, V)` of ours."""
    say(f"reading {len(ids)} tokens with {path}")
    return np.stack(list(_forced(path, ids)))


def _forced(path: Path, ids: list[int]) -> Iterator[NDArray[np.float32]]:
    """The logits `(V,)` after each id, each read by itself."""
    runtime = Artifact.open(path)._runtime
    if not isinstance(runtime, OnnxRuntime):
        sys.exit(f"device: {path}: an artifact of format onnx is wanted")
    runtime._held.clear()  # to open it was to ask it the golden prompts
    for token in ids:
        runtime._run(runtime._sampled, [token])
        yield runtime._next.of_all().copy()


def lost_to(whole: NDArray[np.float32], rounded: NDArray[np.float32]) -> Lost:
    """Of logits `(N, V)`, in pieces: in float64 all at once would be a gigabyte."""
    kl = []
    for one, other in zip(whole, rounded, strict=True):
        p, q = _log_softmax(one), _log_softmax(other)
        kl.append(float(np.sum(np.exp(p) * (p - q))))
    same = np.mean(whole.argmax(axis=1) == rounded.argmax(axis=1))
    return Lost(
        mean_kl=float(np.mean(kl)), p99_kl=float(np.quantile(kl, 0.99)), same_argmax=float(same)
    )


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - float(logits.max())
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return result
