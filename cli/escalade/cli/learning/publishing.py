"""Makes of what was learned the current version of its store, calibrated; knows no feed.

A threshold is found on queries that the model has not learned from, as `escalade calibrate` finds
it for a guarantee; where nothing can be certified yet, the version defers every query.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from operator import itemgetter
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from escalade.cli.learning.settings import LearnPlan
from escalade.edge.artifact import sign, write_manifest
from escalade.edge.base import folder_beside
from escalade.edge.calibration import Judged, ScoredQueries, calibrate
from escalade.edge.deferral import WithinGoal
from escalade.edge.generation import Artifact
from escalade.edge.store import Store, install
from escalade.export.linear import DEFAULT_GOLDEN_TEXTS, export_linear_folder
from escalade.training.errors import RecipeError
from escalade.training.online import EncoderTable, Follower, Held, LinearTable, Rung

# Half of them set the threshold.
_LEAST_TO_CALIBRATE = 20
_GOLDEN = 3

#: Whether answers to the window's queries are the expert's `(n,)`.
Agreement = Callable[[Sequence[str]], NDArray[np.bool_]]


def publish(plan: LearnPlan, follower: Follower) -> list[str]:
    """Install every level as it is now, and give the versions.

    Raises:
        EdgeError, ExportError: a version cannot be made or installed; what was current stays.
    """
    return [
        _publish(plan, place, rung, list(follower.window), follower.agreement)
        for place, rung in enumerate(follower.rungs)
    ]


def publish_untaught(plan: LearnPlan, follower: Follower) -> None:
    """Put a version into every store that has none: it knows nothing, and defers every query.

    Raises:
        RecipeError: a store has a version of other labels.
        EdgeError, ExportError: see `publish`.
    """
    labels = plan.settings.labels
    for place, store in enumerate(plan.stores):
        current = Store(store).current
        if current is not None:
            entry = Store(store).manifest_of(current).classifier
            if entry is None or {*entry.labels} != {*labels}:
                found = "none" if entry is None else ", ".join(entry.labels)
                raise RecipeError(
                    f"{store}: its version must have the labels {', '.join(labels)}, got {found}"
                )
        else:
            _publish(plan, place, follower.rungs[place], [], follower.agreement)


def _publish(
    plan: LearnPlan, place: int, rung: Rung, window: Sequence[Held], agreement: Agreement
) -> str:
    with folder_beside(plan.folder / "version", 0o700) as scratch:
        # Deeper, as who calibrates locks the folder above, and this one is held.
        saved, folder = scratch / "saved", scratch / "version" / "artifact"
        rung.level.save(saved)
        texts = [held.text for held in window if held.text.strip()][:_GOLDEN]
        _export(plan.configuration.level[place], saved, folder, texts or DEFAULT_GOLDEN_TEXTS)
        _calibrate(plan, Artifact.open(folder), window, agreement)
        if plan.private_key is not None:
            sign(folder, plan.private_key)
        # A clock that was set back keeps nobody from learning.
        return install(str(folder), plan.stores[place], allow_older=True).id


def _export(
    table: LinearTable | EncoderTable, saved: Path, folder: Path, golden_texts: Sequence[str]
) -> None:
    if isinstance(table, LinearTable):
        export_linear_folder(saved, folder, name=table.name, golden_texts=golden_texts)
        return
    from escalade.export.artifact import export_classifier

    export_classifier(saved, folder, name=table.name, golden_texts=golden_texts)


def _calibrate(
    plan: LearnPlan, artifact: Artifact, window: Sequence[Held], agreement: Agreement
) -> None:
    levels = len(plan.stores)
    goal = WithinGoal(epsilon=plan.settings.epsilon / levels, delta=plan.settings.delta / levels)
    if len(window) >= _LEAST_TO_CALIBRATE:
        calibrate(artifact, _asked(plan, artifact, window, agreement), goal, rule="mean")
        return
    deferral = msgspec.structs.replace(artifact.manifest.deferral, threshold=artifact.rule.lowest)
    write_manifest(artifact.folder, msgspec.structs.replace(artifact.manifest, deferral=deferral))


def _asked(
    plan: LearnPlan, artifact: Artifact, window: Sequence[Held], agreement: Agreement
) -> ScoredQueries:
    """What the artifact says to the window's queries, and whether the expert says the same."""
    classes = [artifact.classify(held.text) for held in window]
    said = [max(one.items(), key=itemgetter(1))[0] for one in classes]
    content = msgspec.json.encode(window)
    return ScoredQueries(
        logprobs=[[one[label]] for one, label in zip(classes, said, strict=True)],
        longest=[1] * len(window),
        judged=Judged(agreement(said), np.ones(len(window), dtype=np.bool_)),
        prompts=[held.text for held in window],
        source=plan.feed,
        sha256=hashlib.sha256(content).hexdigest(),
        records=[],
    )
