"""Which members may vote together, by their manifests and on this device; knows no query."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from escalade.edge.artifact import Manifest, content_digest
from escalade.edge.errors import ArtifactError
from escalade.edge.generation import Artifact
from escalade.edge.tiers.prompts import Member


def check_members(members: Sequence[Member], *, side_by_side: bool) -> None:
    """Check that votes can be counted.

    Raises:
        ArtifactError: fewer than 2 members, a weight that is none, one that draws and cannot, or
            see `check_comparable`.
    """
    if len(members) < 2:  # noqa: PLR2004
        raise ArtifactError(f"an ensemble needs at least 2 members, got {len(members)}")
    for one in members:
        if not 0.0 < one.info.weight < math.inf:
            raise ArtifactError(
                f"{one.artifact.folder}: weight must be above 0 and finite, got {one.info.weight}"
            )
    drawn = [one for one in members if one.draw is not None]
    for index, one in enumerate(drawn):
        _check_draws(one.artifact, side_by_side=side_by_side)
        if any((one.artifact, one.draw) == (other.artifact, other.draw) for other in drawn[:index]):
            raise ArtifactError(
                f"{one.artifact.folder}: one sample is there twice, and has one vote"
            )
    drawing = {id(one.artifact): one.artifact for one in drawn}
    # Samples of one artifact are of the same content, and are to be.
    others = [one.artifact for one in members if one.draw is None]
    check_comparable([(one.folder, one.manifest) for one in (*drawing.values(), *others)])


def _check_draws(artifact: Artifact, *, side_by_side: bool) -> None:
    if artifact.classifies:
        raise ArtifactError(f"{artifact.folder}: a classifier draws nothing: all samples are one")
    if side_by_side:
        raise ArtifactError(
            f"{artifact.folder}: one model answers one query at a time: samples are drawn one after"
            " the other"
        )


def check_comparable(artifacts: Sequence[tuple[Path, Manifest]]) -> None:
    """Check that votes can be counted.

    Args:
        artifacts: folders, and their manifests; 1 or more.

    Raises:
        ArtifactError: two are the same model by content, whatever they are called and
            however they were calibrated; or their answers cannot be compared: cut at other lengths,
            of a chat and of a plain model, or of classifiers of other labels.
    """
    first, of_first = artifacts[0]
    seen: dict[str, Path] = {}
    for folder, manifest in artifacts:
        content = content_digest(manifest)
        if content in seen:
            raise ArtifactError(
                f"{folder} and {seen[content]} are the same model by content, which has one vote"
            )
        seen[content] = folder
        for what, here, there in (
            ("max_new_tokens", manifest.model.max_new_tokens, of_first.model.max_new_tokens),
            ("chat template", manifest.model.chat is not None, of_first.model.chat is not None),
            ("labels", _labels(manifest), _labels(of_first)),
        ):
            if here != there:
                raise ArtifactError(
                    f"{folder}: its answers cannot be compared with those of {first}: {what} {here}"
                    f" and {there}"
                )


def _labels(manifest: Manifest) -> list[str] | None:
    entry = manifest.classifier
    return None if entry is None else sorted(entry.labels)
