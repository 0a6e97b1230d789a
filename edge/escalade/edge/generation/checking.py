"""Holds any artifact against what its manifest says that it answers; knows no rule, no network."""

from __future__ import annotations

from pathlib import Path

import msgspec

from escalade.edge.artifact import load_manifest
from escalade.edge.deferral import KernelsChoice
from escalade.edge.errors import ArtifactError, ParityError
from escalade.edge.generation.artifact import Artifact
from escalade.edge.generation.sentence_encoder import SentenceEncoder

# Of the golden answers, so many stay whatever rounds activations: Arm's kernels moved 4 of 60 on a
# Cortex-A76 (`make test-aarch64` before they were off). Fewer, and something is broken.
_SAME = 0.8


def open_with_kernels(
    folder: Path, kernels: KernelsChoice, *, trusted_key: Path | None = None
) -> tuple[Artifact, int]:
    """Open an artifact with other kernels than its threshold is of, to calibrate it with them.

    Its golden answers are what these kernels answer, in memory; calibration writes them.

    Returns:
        The artifact, and how many of its golden answers they have left as they were.

    Raises:
        ArtifactError, SignatureError: see `Artifact.open`; or this processor has no such kernels
            for these weights: what they would compute, ONNX Runtime's own have computed.
        ParityError: they have left fewer than rounding explains.
    """
    if kernels != "portable" and (format_ := load_manifest(folder).format) != "onnx":
        raise ArtifactError(f"{folder}: kernels {kernels!r} are of format onnx, got {format_}")
    artifact = Artifact.open(folder, trusted_key=trusted_key, kernels=kernels)
    before = artifact.manifest.golden
    answers = [artifact.golden.answer(entry) for entry in before]
    if kernels != "portable":
        # ONNX Runtime takes its own where it has no others, and says nothing. Others add in another
        # order, which shows in the last digits of some answer.
        own = Artifact.open(folder, trusted_key=trusted_key, kernels="portable")
        if [own.golden.answer(entry) for entry in before] == answers:
            raise ArtifactError(
                f"{folder}: kernels {kernels!r} change no digit of {len(before)} golden answers:"
                " ONNX Runtime has none of them for these weights on this processor; nothing was"
                " changed"
            )
    same = sum(new.token_ids == old.token_ids for new, old in zip(answers, before, strict=True))
    if same < _SAME * len(before):
        raise ParityError(
            f"{folder}: {kernels} kernels give {same} of {len(before)} golden answers, at least"
            f" {_SAME:.0%} are needed"
        )
    artifact.manifest = msgspec.structs.replace(artifact.manifest, golden=answers)
    return artifact, same


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
        ArtifactError, ParityError: see `check_opens` and `Artifact.golden`.
    """
    manifest = load_manifest(folder)
    if manifest.embedding:
        SentenceEncoder.open(folder)  # which asks of all
        return (len(manifest.embedding.golden),) * 2
    return Artifact.open(folder).golden.check_all(), len(manifest.golden)
