"""Holds any artifact against what its manifest says that it answers; knows no rule, no network."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from escalade.edge.artifact import GoldenEntry, load_manifest
from escalade.edge.deferral import Kernels, mean_nll
from escalade.edge.errors import ParityError
from escalade.edge.generation.artifact import Artifact
from escalade.edge.generation.sentence_encoder import SentenceEncoder

# Of the golden answers, so many stay whatever rounds activations: Arm's kernels moved 4 of 60 on a
# Cortex-A76 (`make test-aarch64` before they were off). Fewer, and something is broken.
_SAME = 0.8


def open_with_kernels(
    folder: Path, kernels: Kernels | Literal["portable"], *, trusted_key: Path | None = None
) -> tuple[Artifact, int]:
    """Open an artifact with other kernels than its threshold is of, to calibrate it with them.

    Its golden answers are what these kernels answer, in memory; calibration writes them.

    Returns:
        The artifact, and how many of its golden answers they have left as they were.

    Raises:
        ArtifactError, SignatureError: see `Artifact.open`; or this processor has no such kernels.
        ParityError: they have left fewer than rounding explains.
    """
    artifact = Artifact.open(folder, trusted_key=trusted_key, kernels=kernels)
    before = artifact.manifest.golden
    answers = [_answered(artifact, entry) for entry in before]
    same = sum(new.token_ids == old.token_ids for new, old in zip(answers, before, strict=True))
    if same < _SAME * len(before):
        raise ParityError(
            f"{folder}: {kernels} kernels give {same} of {len(before)} golden answers, at least"
            f" {_SAME:.0%} are needed"
        )
    artifact.manifest = msgspec.structs.replace(artifact.manifest, golden=answers)
    return artifact, same


def _answered(artifact: Artifact, entry: GoldenEntry) -> GoldenEntry:
    steps = list(artifact.generate(entry.prompt_ids, len(entry.token_ids)))
    nll = mean_nll([step.logprob for step in steps])
    tokens = [step.token_id for step in steps]
    return msgspec.structs.replace(entry, token_ids=tokens, nll=nll)


def check_opens(folder: Path) -> None:
    """Open an artifact and let it go; a golden answer, or what two texts have, is asked for.

    Raises:
        ArtifactError, ParityError: see `Artifact.open` and `SentenceEncoder.open`.
    """
    kind = SentenceEncoder if load_manifest(folder).embedding else Artifact
    kind.open(folder)


def play_golden(folder: Path) -> tuple[int, int]:
    """Ask for every golden answer, or of every golden pair of texts.

    Returns:
        How many are given, and of how many.

    Raises:
        ArtifactError, ParityError: see `check_opens` and `Artifact.check_all_golden`.
    """
    manifest = load_manifest(folder)
    if manifest.embedding:
        SentenceEncoder.open(folder)  # which asks of all
        return (len(manifest.embedding.golden),) * 2
    return Artifact.open(folder).check_all_golden(), len(manifest.golden)
