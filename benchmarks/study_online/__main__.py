"""Runs the study: `python -m benchmarks.study_online`, or `make study-online`; and goes on with it.

Streams of a folder (see docs/results-online.md for what lies there) through `escalade learn`'s own
learner: cascades with mu sought for the paper's budgets, all baselines, both experts, some seeds;
then docs/results-online.md. Every run leaves a file in the output folder, and one that is there is
not made again. `--jobs` processes share the machine.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.study.jobs import REPOSITORY, add_options, run_workers, take_share

from escalade.cli.process.quiet import quiet_third_party


def main() -> None:
    """Run, report."""
    parser = argparse.ArgumentParser(prog="study-online", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of streams (.parquet)")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "runs" / "study-online")
    parser.add_argument("--encoder", type=Path, help="folder of an encoder, such as MiniLM's")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="of encoders")
    parser.add_argument("--streams", nargs="*", help="some of them only; default: all")
    parser.add_argument("--levels", nargs="*", default=["linear", "frozen"])
    parser.add_argument("--experts", nargs="*", help="some of them only; default: both")
    parser.add_argument("--methods", nargs="*", help="some of them only; default: all")
    parser.add_argument(
        "--budgets", type=int, help="so many of each stream, the smallest first; default: all"
    )
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each run: 1, 2, ...")
    parser.add_argument("--tries", type=int, default=7, help="runs that seek a budget, at most")
    parser.add_argument("--elsewhere", default="", help="for the page: what another machine ran")
    parser.add_argument("--report", action="store_true", help="no run: report what is there")
    add_options(parser)
    options = parser.parse_args()
    share = take_share(options)

    quiet_third_party()
    from benchmarks.study_online import audited, report
    from benchmarks.study_online.runs import say
    from benchmarks.study_online.settings import LEVELS, METHODS, Settings
    from benchmarks.study_online.streams import EXPERTS, STREAMS
    from benchmarks.study_online.work import work

    streams = options.streams or list(STREAMS)
    experts, methods = options.experts or list(EXPERTS), options.methods or list(METHODS)
    for what, given, known in (
        ("stream", streams, STREAMS),
        ("levels", options.levels, LEVELS),
        ("expert", experts, EXPERTS),
        ("method", methods, METHODS),
    ):
        if unknown := sorted(set(given) - set(known)):
            sys.exit(f"study-online: no {what} {unknown[0]!r}; known: {', '.join(known)}")
    if options.encoder is None and any(LEVELS[one].encoders for one in options.levels):
        sys.exit("study-online: name an encoder's folder with --encoder, or --levels linear")
    settings = Settings(
        data=options.data,
        out=options.out,
        most_tries=options.tries,
        encoder=options.encoder,
        device=options.device,
        elsewhere=options.elsewhere,
        streams=tuple(streams),
        experts=tuple(experts),
        methods=tuple(methods),
        budgets=options.budgets,
        seeds=tuple(range(1, options.seeds + 1)),
        levels=tuple(options.levels),
    )
    if share is not None:
        work(settings, share)
        return
    if not options.report:
        say(f"done in {run_workers('benchmarks.study_online', options.jobs):.0f} min")
    audited.count_once(settings.out, say)
    report.write(settings, REPOSITORY / "docs")


if __name__ == "__main__":
    main()
