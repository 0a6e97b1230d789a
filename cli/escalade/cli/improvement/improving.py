"""Makes the next version of a small language model of its traces; knows no command line.

    OUT/next/            the version in the making: `stages.json` says how far it is
    OUT/VERSION/         one that was published: its examples, checkpoint and artifact

Nothing is published before all else is done, and that in one step (`escalade.edge.store`): whoever
fails before leaves the old version current, and a later run goes on where this one was.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from escalade.cli.errors import CliError
from escalade.cli.improvement.expert import Expert
from escalade.cli.improvement.making import (
    ARTIFACT,
    ASKED,
    CALIBRATE,
    CHECKPOINT,
    FIGURES,
    HEARD,
    TRAIN,
    VALID,
    Figures,
    Making,
)
from escalade.cli.improvement.stages import STAGES_NAME, Stages, Work, read_work
from escalade.edge.artifact import MANIFEST_NAME, SIGNATURE_NAME
from escalade.edge.base import exclusive_lock, sha256_of
from escalade.edge.generation import Artifact
from escalade.edge.store import Store, install
from escalade.v1.identity import weights_revision

if TYPE_CHECKING:
    from escalade.edge.artifact import Manifest
    from escalade.training.improvement import Improvement
    from escalade.training.recipes import Progress

_NEXT, _EXAMPLES = "next", "examples"
#: Characters of a version that name its folder, as other verbs show them.
_SHOWN = 12


class Improved(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a run."""

    before: str
    #: None where there was nothing new to learn.
    version: str | None
    #: Then: the first characters of one that has learned the same.
    known: str | None = None
    #: How many queries of the traces were what; see `HeardCounts`.
    heard: dict[str, int]
    figures: Figures | None = None
    seconds: float = 0.0


def improve(
    wanted: Improvement,
    traces: Path,
    out: Path,
    *,
    say: Callable[[str], None] = lambda line: None,
    progress: Progress | None = None,
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> Improved:
    """Learn from what the expert has said in traces, and publish the next version.

    Args:
        wanted: the settings, with absolute paths.
        traces: a file, or a folder that grows.
        out: the folder of versions; made if it is not there.
        say: told of each stage.
        progress: told how far training is.
        tick: told how many queries of how many were asked.

    Raises:
        CliError: there is no calibrated version to begin with, its torch model is not there, the
            unfinished version in `out` is of other settings, or the current version changed.
        DataError: the traces cannot be read or hold nothing to learn from, or another run is at it.
        TrainingError, EdgeError, ExportError: a stage failed; what was done before stays done.
    """
    began_s = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(out, wait_s=0.0):
        store, folder = Store(Path(wanted.store)), out / _NEXT
        before, published = _before(store, folder)
        manifest = _usable(store, before)
        folder.mkdir(exist_ok=True)
        work = Work(wanted=_plain(wanted, traces), before=before)
        stages = Stages(folder, work, say)
        making = Making(wanted, folder, store.path_of(before))
        with Expert.open(store.path_of(before), wanted.expert) as expert:
            stages.do(_EXAMPLES, [TRAIN, CALIBRATE, HEARD], lambda: making.examples(traces, expert))
            if not published and (known := _known(stages, out)) is not None:
                heard = making.heard()
                shutil.rmtree(folder)
                return Improved(before=before, version=None, known=known, heard=heard)
            stages.do("answers", [VALID, ASKED], lambda: making.answers(expert, tick))
        model = _model_of(manifest, [Path(wanted.model), *sorted(out.glob(f"*/{CHECKPOINT}"))])
        stages.do("training", [CHECKPOINT], lambda: making.train(model, progress, say))
        # Calibration writes the manifest anew, which holds the digests of all other files.
        late = (MANIFEST_NAME, SIGNATURE_NAME)
        stages.do("export", [ARTIFACT], lambda: making.export(say), but=late)
        written = [FIGURES, *(f"{ARTIFACT}/{name}" for name in late)]
        stages.do("calibration", written, lambda: making.calibrate(tick))
        built = folder / ARTIFACT
        version = sha256_of(built / MANIFEST_NAME)
        if not published:
            if store.current != before:
                raise _changed(store, folder)
            say("publishing ...")
            install(str(built), store.folder, check=Artifact.open)
        heard, figures = making.heard(), making.figures()
        folder.replace(out / version[:_SHOWN])
    return Improved(
        before=before,
        version=version,
        heard=heard,
        figures=figures,
        seconds=time.monotonic() - began_s,
    )


def _before(store: Store, folder: Path) -> tuple[str, bool]:
    """The version that the next one follows, and whether the next one is published already.

    Raises:
        CliError: there is none, or another became current since the next one was begun.
    """
    current = store.current
    if current is None:
        raise CliError(
            f"{store.folder}: no version there; export the first one, calibrate it, and"
            " `escalade store install` it"
        )
    work = read_work(folder)
    if work is None or work.before == current:
        return current, False
    built = folder / ARTIFACT / MANIFEST_NAME
    if built.is_file() and sha256_of(built) == current:  # it died before it could say so
        return work.before, True
    raise _changed(store, folder)


def _changed(store: Store, folder: Path) -> CliError:
    return CliError(
        f"{store.folder}: another version became current since {folder} was begun; delete that"
        " folder to begin again"
    )


def _usable(store: Store, version: str) -> Manifest:
    """The manifest of the version before.

    Raises:
        CliError: nothing says how a version after it is to be calibrated.
    """
    manifest = store.manifest_of(version)
    named = f"{store.folder}: the current version, {version[:_SHOWN]},"
    if manifest.deferral.calibration is None:
        raise CliError(f"{named} is not calibrated: the next one is to reach the same goal")
    if manifest.deferral.router is not None:
        raise CliError(f"{named} defers by a router, which is not trained again; use a rule")
    if manifest.classifier is not None:
        raise CliError(f"{named} is a classifier; those learn as levels, without kind")
    return manifest


def _model_of(manifest: Manifest, folders: list[Path]) -> Path:
    """The torch model that a version was exported from.

    Raises:
        CliError: it is none of these.
    """
    for folder in folders:
        try:
            if weights_revision(folder) == manifest.model.revision:
                return folder
        except (OSError, ValueError):
            continue
    raise CliError(
        f"model: the current version was exported from weights {manifest.model.revision[:_SHOWN]};"
        f" none of {', '.join(map(str, folders))} has them"
    )


def _known(stages: Stages, out: Path) -> str | None:
    """A version that has learned from the same examples, told the same; it may have been bad."""
    now = stages.work
    for path in sorted(out.glob(f"*/{STAGES_NAME}")):
        there = None if path.parent == stages.folder else read_work(path.parent)
        if there is None or there.wanted != now.wanted:
            continue
        if there.done.get(_EXAMPLES) == now.done[_EXAMPLES]:
            return path.parent.name
    return None


def _plain(wanted: Improvement, traces: Path) -> dict[str, object]:
    """What decides a version; how training runs does not."""
    plain: dict[str, object] = msgspec.to_builtins(wanted)
    del plain["run"]
    return plain | {"traces": str(traces.resolve())}
