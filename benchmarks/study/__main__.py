"""Runs the study: `python -m benchmarks.study`, or `make study`. Resumes where it was.

Trains the bundled small model with every loss of the CAT paper and with the controls, some
seeds each, beside the same large model; evaluates all on the test split; writes
docs/results.md. Every run leaves its model and traces in the output folder, and a run that
is there is not done again. `--jobs` runs share the machine, each with its part of the cores.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from escalade.cli.quiet import quiet_third_party

REPOSITORY = Path(__file__).parents[2]


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
    parser.add_argument("--jobs", type=int, default=2, help="runs at the same time")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--report", action="store_true", help="no training: report what is there")
    parser.add_argument(
        "--pilot", action="store_true", help="compare learning rates on the validation split"
    )
    options = parser.parse_args()
    if options.worker is not None:
        # Before torch is imported: its thread pools are sized then.
        os.environ["OMP_NUM_THREADS"] = str(max((os.cpu_count() or 1) // options.jobs, 1))

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
    if options.worker is not None:
        train_share(settings, arms, options.worker, options.jobs)
        return
    if not options.report:
        started = time.time()
        prepare(settings, arms)
        workers = [
            subprocess.Popen([sys.executable, "-m", "benchmarks.study", *sys.argv[1:],
                              "--worker", str(number)], cwd=REPOSITORY)
            for number in range(options.jobs)
        ]  # fmt: skip
        codes = [worker.wait() for worker in workers]
        if any(codes):
            sys.exit("study: a worker failed; run the command again to go on")
        print(f"trained in {(time.time() - started) / 60:.0f} min")
    check_same(settings)
    report.write(settings, REPOSITORY / "docs")


if __name__ == "__main__":
    main()
