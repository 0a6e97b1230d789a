"""Runs the study: `python -m benchmarks.study_online`, or `make study-online`; and goes on with it.

Streams of a folder (see docs/results-online.md for what lies there) through `escalade learn`'s own
learner: cascades with mu sought for the paper's budgets, all baselines, both experts, some seeds;
then docs/results-online.md. Every run leaves a file in the output folder, and one that is there is
not made again. `--jobs` processes share the machine.
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
    """Run, report."""
    parser = argparse.ArgumentParser(prog="study-online", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of streams (.parquet)")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "runs" / "study-online")
    parser.add_argument("--encoder", type=Path, help="folder of an encoder, such as MiniLM's")
    parser.add_argument("--streams", nargs="*", default=["hatespeech", "isear"])
    parser.add_argument("--levels", nargs="*", default=["linear", "upper"])
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each run: 1, 2, ...")
    parser.add_argument("--jobs", type=int, default=2, help="processes at the same time")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--report", action="store_true", help="no run: report what is there")
    options = parser.parse_args()
    if options.worker is not None:
        # Before torch is imported: its thread pools are sized then.
        os.environ["OMP_NUM_THREADS"] = str(max((os.cpu_count() or 1) // options.jobs, 1))

    quiet_third_party()
    from benchmarks.study_online import audited, report
    from benchmarks.study_online.runs import Share, say, work
    from benchmarks.study_online.settings import STREAMS, Settings

    if unknown := sorted(set(options.streams) - set(STREAMS)):
        sys.exit(f"study-online: no stream {unknown[0]!r}; known: {', '.join(STREAMS)}")
    if options.encoder is None and set(options.levels) != {"linear"}:
        sys.exit("study-online: name an encoder's folder with --encoder, or --levels linear")
    settings = Settings(
        data=options.data,
        out=options.out,
        encoder=options.encoder,
        streams=tuple(options.streams),
        seeds=tuple(range(1, options.seeds + 1)),
        levels=tuple(options.levels),
    )
    if options.worker is not None:
        work(settings, Share(options.worker, options.jobs))
        return
    if not options.report:
        started = time.time()
        workers = [
            subprocess.Popen([sys.executable, "-m", "benchmarks.study_online", *sys.argv[1:],
                              "--worker", str(number)], cwd=REPOSITORY)
            for number in range(options.jobs)
        ]  # fmt: skip
        codes = [worker.wait() for worker in workers]
        if any(codes):
            sys.exit("study-online: a worker failed; run the command again to go on")
        say(f"done in {(time.time() - started) / 60:.0f} min")
    audited.count_once(settings.out, say)
    report.write(settings, REPOSITORY / "docs")


if __name__ == "__main__":
    main()
