"""Runs the study: `python -m benchmarks.study_three`, or `make study-three`. Resumes where it was.

Trains small and medium models for a cascade of three tiers, by recipes of several teachers: with
every kind of alpha, and with medium trained before small, after it, and in turns. Sets the
thresholds of both gates together on the validation split, evaluates on the test split, and writes
docs/results-three-tiers.md. A run that is there is not done again. `--jobs` share the runs, as they
become possible.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.study.jobs import REPOSITORY, add_options, run_workers, take_share

from escalade.cli.process.quiet import quiet_third_party


def main() -> None:
    """Prepare, train, report."""
    parser = argparse.ArgumentParser(prog="study_three", description=__doc__)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "runs" / "study-three")
    parser.add_argument("--seeds", type=int, default=3, help="seeds: 1, 2, ...")
    parser.add_argument("--steps", type=int, default=250, help="of each of the two rounds")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--train-queries", type=int, default=64_000)
    parser.add_argument("--test-queries", type=int, default=6000)
    parser.add_argument("--report", action="store_true", help="no training: report what is there")
    parser.add_argument(
        "--pilot", action="store_true", help="compare learning rates on the validation split"
    )
    add_options(parser)
    options = parser.parse_args()
    share = take_share(options)

    quiet_third_party()
    from benchmarks.study_three import training
    from benchmarks.study_three.arms import Settings

    settings = Settings(
        out=options.out.resolve(),
        seeds=tuple(range(1, options.seeds + 1)),
        steps=options.steps,
        learning_rate=options.learning_rate,
        train_queries=options.train_queries,
        test_queries=options.test_queries,
    )
    if options.pilot:
        from benchmarks.study_three import pilot

        if share is not None:
            pilot.run(settings, share)
            return
        training.write_data(settings)
        run_workers("benchmarks.study_three", options.jobs)
        return
    training.check_same(settings)
    if share is not None:
        from benchmarks.study_three.work import work

        work(settings, share)
        return
    if not options.report:
        training.prepare(settings)
        minutes = run_workers("benchmarks.study_three", options.jobs)
        training.say(f"trained in {minutes:.0f} min")
    from benchmarks.study_three import report

    report.write(settings, REPOSITORY / "docs")


if __name__ == "__main__":
    main()
