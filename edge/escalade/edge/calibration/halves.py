"""Which queries set a threshold, which check it, and which a router has learned from.

Knows no rule and no threshold.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import NamedTuple

import numpy as np

from escalade.edge.deferral import Seen, digest_of, read_seen
from escalade.edge.errors import CalibrationError
from escalade.edge.generation import Artifact


class Halves(NamedTuple):
    """Which queries do what; indices, in random order."""

    train: list[int]
    fit: list[int]
    held_out: list[int]


def halves_of(
    n: int, *, seed: int, train: bool = False, but: Container[int] = frozenset()
) -> Halves:
    """Divide n queries at random; the same way every time.

    Args:
        n: queries, >= 1.
        seed: of the order.
        train: keep the first half of them for training a router.
        but: those that are in neither of the other halves: a router has learned from them.
    """
    order = np.random.default_rng(seed).permutation(n).tolist()
    trained = (n + 1) // 2 if train else 0
    rest = [index for index in order[trained:] if index not in but]
    middle = (len(rest) + 1) // 2
    return Halves(order[:trained], rest[:middle], rest[middle:])


def learned(prompts: Sequence[str], seen: Seen) -> set[int]:
    """Which of the queries with these prompts a router has learned from."""
    return {index for index, prompt in enumerate(prompts) if digest_of(prompt) in seen}


def learned_from(
    artifact: Artifact, prompts: Sequence[str], data_sha256: str, *, guaranteed: bool
) -> set[int]:
    """Which of the queries with these prompts the artifact's own router has learned from.

    Args:
        artifact: with a router.
        prompts: of the queries.
        data_sha256: of the file they are from.
        guaranteed: whether something is to be guaranteed.

    Raises:
        CalibrationError: its manifest does not say which, and they may be these.
        ArtifactError: what it says cannot be read.
    """
    kept = artifact.manifest.deferral.router_training
    if kept is not None and kept.prompts is not None:
        return learned(prompts, read_seen(artifact.folder / kept.prompts))
    if guaranteed or (kept is not None and kept.data_sha256 == data_sha256):
        raise CalibrationError(
            f"{artifact.folder}: the manifest does not say what its router was trained on, so that"
            " it may have been these queries; train it again with --rule router"
        )
    return set()
