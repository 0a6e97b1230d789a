"""Whether artifacts can vote together, by what their manifests say; opens no program."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from escalade.edge.artifact import Manifest, content_digest
from escalade.edge.errors import ArtifactError


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
