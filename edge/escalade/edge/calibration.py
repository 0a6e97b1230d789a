"""Sets the threshold tau from an artifact's own scores; knows no network, no large model."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from escalade.edge.artifact import Artifact
from escalade.edge.deferral import CalibrationEntry, DeferralEntry
from escalade.edge.errors import CalibrationError
from escalade.edge.files import sha256_of
from escalade.edge.manifest import Manifest, write_manifest
from escalade.edge.records import read_records, spread
from escalade.edge.rules import DeferralRule, rule_named

_CONFIDENCE = 0.95
_Z = 1.959963984540054  # the normal distribution's 0.975 quantile


class Threshold(NamedTuple):
    """A threshold and what it does on the data it was found on."""

    threshold: float
    achieved: float


def threshold_for_rate(scores: ArrayLike, target: float) -> Threshold:
    """The threshold whose deferral rate is nearest to a target; ties stay together.

    Queries with equal scores are deferred together or not at all, so only some rates can
    be had. Between two equally near ones the lower (the cheaper) is taken.

    Args:
        scores: `(n,)` deferral scores, n >= 1, finite.
        target: share of queries to defer, in [0, 1].

    Returns:
        tau and the share of `scores` that are >= tau.

    Raises:
        CalibrationError: no scores, a score is not finite, or the target is out of range.
    """
    values = np.sort(np.asarray(scores, dtype=np.float64))
    if values.size == 0:
        raise CalibrationError("no scores; at least 1 query is needed")
    if not np.isfinite(values).all():
        raise CalibrationError("a score is not finite; the model gives NaN or infinity")
    if not 0.0 <= target <= 1.0:
        raise CalibrationError(f"target deferral rate must be in [0, 1], got {target}")
    distinct, first = np.unique(values, return_index=True)
    # Deferring nobody takes a threshold just above the highest score.
    candidates = np.append(distinct, np.nextafter(distinct[-1], np.inf))
    rates = np.append(1.0 - first / values.size, 0.0)
    distance = np.round(np.abs(rates - target), 12)
    best = int(np.flatnonzero(distance == distance.min())[-1])
    return Threshold(float(candidates[best]), float(rates[best]))


def wilson_interval(rate: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a proportion (Wilson 1927, JASA 22:209-212)."""
    spread = _Z * math.sqrt(rate * (1 - rate) / n + _Z**2 / (4 * n**2))
    centre = rate + _Z**2 / (2 * n)
    scale = 1 + _Z**2 / n
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def score_prompts(
    artifact: Artifact,
    prompts: Sequence[str],
    *,
    rule: str | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> list[float]:
    """The artifact's own deferral score of every prompt, in order.

    Args:
        artifact: opened and verified.
        prompts: as users type them.
        rule: the deferral rule's name; None takes the manifest's.
        progress: called with the number of prompts scored.

    Raises:
        CalibrationError: there is no such rule.
        PromptError: a prompt does not fit the model; before anything is scored.
    """
    score = _rule(artifact.manifest.deferral.rule if rule is None else rule)
    encoded = [artifact.encode(prompt) for prompt in prompts]  # refuse a bad one before the work
    scores = []
    for done, prompt_ids in enumerate(encoded, start=1):
        scores.append(score([step.logprob for step in artifact.generate(prompt_ids)]))
        progress(done)
    return scores


def calibrate(
    folder: Path,
    data: Path,
    target: float,
    *,
    rule: str | None = None,
    limit: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Manifest:
    """Set the threshold of an artifact, on the artifact itself, and write it to the manifest.

    A threshold belongs to its rule, so another rule is set here, together with its own.

    Args:
        folder: the artifact.
        data: query records; references are not looked at.
        target: share of queries to defer, in [0, 1].
        rule: the deferral rule to set, see `rule_named`; None keeps the manifest's.
        limit: use that many records, evenly spread over the file; all if None.
        progress: called with (queries scored, queries in all).

    Returns:
        The manifest as written.

    Raises:
        ArtifactError, DataError, PromptError, CalibrationError: see there.
    """
    if not 0.0 <= target <= 1.0:
        raise CalibrationError(f"target deferral rate must be in [0, 1], got {target}")
    records = spread(read_records(data), limit)
    artifact = Artifact.open(folder)
    rule = artifact.manifest.deferral.rule if rule is None else rule
    scores = score_prompts(
        artifact,
        [record.prompt for record in records],
        rule=rule,
        progress=lambda done: progress(done, len(records)),
    )
    found = threshold_for_rate(scores, target)
    entry = CalibrationEntry(
        data=data.name,
        data_sha256=sha256_of(data),
        n=len(scores),
        target_deferral_rate=target,
        achieved_deferral_rate=found.achieved,
        interval=wilson_interval(found.achieved, len(scores)),
        confidence=_CONFIDENCE,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    deferral = DeferralEntry(rule=rule, threshold=found.threshold, calibration=entry)
    manifest = msgspec.structs.replace(artifact.manifest, deferral=deferral)
    write_manifest(folder, manifest)
    return manifest


def _rule(name: str) -> DeferralRule:
    try:
        return rule_named(name)
    except ValueError as error:
        raise CalibrationError(str(error)) from error
