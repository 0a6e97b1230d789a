"""Runs the study: `python -m benchmarks.study`, or `make study`. Resumes where it was.

Trains the bundled small model with every loss of the CAT paper and with the controls, some
seeds each, beside the same large model; evaluates all on the test split; writes
docs/results.md. Every run leaves its model and traces in the output folder, and a run that
is there is not done again. `--jobs` runs share the machine, each with its part of the cores.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.study.jobs import REPOSITORY, add_options, run_workers, take_share

from escalade.cli.process.quiet import quiet_third_party


def main() -> None:
    """Prepare, train, report."""
    parser = argparse.ArgumentParser(prog="study", description=__doc__)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "runs" / "study")
    parser.add_argument("--seeds", type=int, default=3, help="seeds for each arm: 1, 2, ...")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--learning-rate", type=float, default=4e-3)
    parser.add_argument("--train-queries", type=int, default=200_000)
    parser.add_argument("--test-queries", type=int, default=6000)
    parser.add_argument("--arms", nargs="*", help="some arms only; default: all")
    parser.add_argument("--report", action="store_true", help="no training: report what is there")
    parser.add_argument(
        "--pilot", action="store_true", help="compare learning rates on the validation split"
    )
    add_options(parser)
    options = parser.parse_args()
    share = take_share(options)

    quiet_third_party()
    from benchmarks.study import pilot, report
    from benchmarks.study.arms import ARMS, Settings
    from benchmarks.study.work import check_same, prepare, train_share

    unknown = sorted(set(options.arms or ()) - set(ARMS))
    if unknown:
        sys.exit(f"study: no arm {unknown[0]!r}; known arms: {', '.join(ARMS)}")
    settings = Settings(
        out=options.out,
        seeds=tuple(range(1, options.seeds + 1)),
        steps=options.steps,
        learning_rate=options.learning_rate,
        train_queries=options.train_queries,
        test_queries=options.test_queries,
    )
    arms = [ARMS[name] for name in options.arms or ARMS]
    if options.pilot:
        pilot.run(settings)
        return
    if share is not None:
        train_share(settings, arms, share)
        return
    if not options.report:
        prepare(settings, arms)
        print(f"trained in {run_workers('benchmarks.study', options.jobs):.0f} min")
    check_same(settings)
    report.write(settings, REPOSITORY / "docs")


if __name__ == "__main__":
    main()
