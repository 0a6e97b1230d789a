"""What a run over a stream left in its folder, as the page about it takes it; loads no model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from escalade.cli.errors import CliError
from escalade.edge.base import UNDECODABLE, text_of
from escalade.simulator.learning import EXPERT, Agreement, LearnedRun, LevelFigures, Moment
from escalade.training.online import EVENTS_NAME, RESULT_NAME, Event, Result
from escalade.training.online import Agreement as AuditedAgreement


def learned_run(folder: Path, name: str | None = None) -> LearnedRun:
    """Read a finished run.

    Args:
        folder: that `escalade learn` wrote.
        name: of the run; default: the folder's.

    Raises:
        CliError: it holds no finished run.
    """
    try:
        result = msgspec.json.decode((folder / RESULT_NAME).read_bytes(), type=Result)
        lines = (folder / EVENTS_NAME).read_bytes().splitlines()
        events = [msgspec.json.decode(line, type=Event) for line in lines]
    except (OSError, *UNDECODABLE) as error:
        said = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else error
        raise CliError(f"{folder}: holds no finished run of `escalade learn`: {said}") from error
    return run_of(result, events, name or run_names([folder])[0])


def run_names(folders: Sequence[Path]) -> list[str]:
    """What each run is called: by its folder's name, or the whole path where two have the same."""
    whole = [folder.resolve() for folder in folders]
    seen = Counter(folder.name for folder in whole)
    return [text_of(folder.name if seen[folder.name] == 1 else str(folder)) for folder in whole]


def run_of(result: Result, events: list[Event], name: str) -> LearnedRun:
    """A run's figures."""
    tally, measured = result.tally, result.measured
    method = result.configuration["method"]
    mu = method.get("mu") if isinstance(method, dict) else None
    return LearnedRun(
        name=name,
        method=str(method["kind"]) if isinstance(method, dict) else "",
        mu=None if mu is None else float(mu),
        labels=result.labels,
        items=tally.items,
        accuracy=None if measured is None else measured.accuracy,
        recall={} if measured is None else measured.recall,
        precision={} if measured is None else measured.precision,
        agreement=_agreement(result.agreement),
        audited=0 if result.agreement is None else result.agreement.audited,
        levels=[
            *(
                LevelFigures(
                    name=one.name,
                    answered=one.answered,
                    runs=one.runs,
                    learning_runs=one.learning_runs,
                    updates=one.updates,
                    flops=one.flops,
                    learning_flops=one.learning_flops,
                    seconds=one.seconds,
                    learning_seconds=one.learning_seconds,
                )
                for one in tally.levels
            ),
            LevelFigures(
                name=EXPERT,
                answered=tally.expert.answered,
                runs=tally.expert.calls,
                flops=tally.expert.flops,
                seconds=tally.expert.seconds,
            ),
        ],
        moments=[_moment(event) for event in events if event.event == "figures"],
        alarms=[event.items for event in events if event.event == "alarm"],
    )


def _moment(event: Event) -> Moment:
    return Moment(
        items=event.items,
        by=event.by,
        calls=event.calls,
        accuracy=event.right / event.measured if event.measured else None,
        recent_accuracy=(
            event.window_right / event.window_measured if event.window_measured else None
        ),
        recent_measured=event.window_measured,
        agreement=_agreement(event.agreement),
    )


def _agreement(found: AuditedAgreement | None) -> Agreement | None:
    if found is None:
        return None
    return Agreement(low=found.low, estimate=found.estimate, high=found.high)
