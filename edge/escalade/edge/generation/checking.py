"""Holds any artifact against what its manifest says that it answers; knows no rule, no network."""

from __future__ import annotations

from pathlib import Path

from escalade.edge.artifact import load_manifest
from escalade.edge.generation.artifact import Artifact
from escalade.edge.generation.sentence_encoder import SentenceEncoder


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
