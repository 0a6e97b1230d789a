"""Holds the simulator against live cascades, and goes on: `python -m benchmarks.sim_vs_live`.

Two and three tiers on six networks, one query after the other and under load: live, through proxies
and processes, and in virtual time. What is in the folder is not measured again; `--report` writes
docs/results-simulator.md of what is there. The machine should have nothing else to do.
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
from pathlib import Path

import msgspec
from benchmarks.sim_vs_live.loads import LEAST, LOADS, PARTS, SHARE, TIERS
from benchmarks.study.jobs import REPOSITORY, keep_settings

#: From no delay that can be seen to a satellite's; that which has a cycle of 15 s among them.
PROFILES = ("coe-1us", "coe-10ms", "wifi-good", "lte", "leo-handover", "geo")

#: Seeds of rounds; a round takes some from its own on.
_APART = 10


def main() -> None:
    """Measure what is missing, print or write the page."""
    parser = argparse.ArgumentParser(prog="sim-vs-live", description=__doc__)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "runs" / "sim-vs-live")
    parser.add_argument("--profiles", nargs="+", default=list(PROFILES), help="networks")
    parser.add_argument("--queries", type=int, default=80, help="of a light piece")
    parser.add_argument("--calls", type=int, default=200, help="of a loaded piece")
    parser.add_argument(
        "--share", type=float, default=SHARE, help="of the cloud's time, of a loaded piece"
    )
    parser.add_argument("--parts", type=int, default=PARTS, help="turns of a loaded piece")
    parser.add_argument("--loads", nargs="+", choices=LOADS, default=LOADS, help="to measure")
    parser.add_argument("--tiers", nargs="+", type=int, choices=TIERS, default=TIERS)
    parser.add_argument(
        "--scheme", choices=("none", "int8", "int4"), help="of the device's models; int4 takes long"
    )
    parser.add_argument("--no-machine", action="store_true", help="no clock and no first calls")
    parser.add_argument("--rounds", type=int, default=1, help="one after the other, then pooled")
    parser.add_argument(
        "--seed", type=int, default=1, help="of the first round's queries, moments and networks"
    )
    parser.add_argument("--report", action="store_true", help="measure nothing: write the page")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not 0 < options.share < math.inf:
        parser.error(f"--share: must be above 0 and finite, got {options.share}")
    for name, least in LEAST.items():
        if (given := getattr(options, name)) < least:
            parser.error(f"--{name}: must be at least {least}, got {given}")
    # Processes that are begun import this file again, and are to be there at once.
    from benchmarks.sim_vs_live.report import added_tables_of, read_findings, tables_of, write

    from escalade.cli.process.quiet import quiet_third_party
    from escalade.cli.tables import show_table
    from escalade.simulator.network import get_profile

    for name in options.profiles:
        get_profile(name)
    quiet_third_party()
    # Whoever is told to stop stops its servers first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if not options.report:
        from benchmarks.sim_vs_live.pieces import round_in
        from benchmarks.sim_vs_live.study import Study

        def study(out: Path, seed: int) -> Study:
            return Study(
                out,
                options.profiles,
                queries=options.queries,
                calls=options.calls,
                share=options.share,
                parts=options.parts,
                seed=seed,
                shared=options.out,
                loads=options.loads,
                tiers=options.tiers,
                scheme=options.scheme,
            )

        told = {
            name: str(getattr(options, name))
            for name in ("queries", "calls", "share", "parts", "seed")
        }
        keep_settings(options.out, told)
        for number in range(1, options.rounds + 1):
            study(round_in(options.out, number), options.seed + _APART * (number - 1)).run()
        if not options.no_machine:
            study(options.out, options.seed).machine()
    found = read_findings(options.out)
    if options.json:
        print(msgspec.json.encode(found).decode())
    elif options.report:
        write(found, REPOSITORY / "docs" / "results-simulator.md")
    else:
        for table in (*tables_of(found), *added_tables_of(found)):
            show_table(table)


if __name__ == "__main__":
    main()
