"""Holds a fleet's plan against live replicas: `python -m benchmarks.sim_vs_live.replicas`.

For each p99 that is wanted: how many replicas `escalade fleet --p99-s` says, and how many live
servers it takes. What is in the folder is not measured again. It takes Linux and root, for control
groups; the machine should have nothing else to do.
"""

from __future__ import annotations

import argparse
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from benchmarks.study.jobs import REPOSITORY

#: All replicas together have less than a core: the other one is the driver's.
_COUNTS, _SHARE = (3, 4, 5, 6, 7), 0.1
#: Calls a second; and goals as so many times an answer that nothing is beside.
_RATE, _GOALS = 25.0, (2.3, 2.5, 3.0, 4.0, 5.0, 6.0)
#: Together as many as a p99 takes that has two dozen beyond it.
_CALLS, _TURNS = 300, 8


def main() -> None:
    """Measure what is missing, and print it."""
    parser = argparse.ArgumentParser(prog="sim-vs-live.replicas", description=__doc__)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "runs" / "replicas")
    parser.add_argument("--rate", type=float, default=_RATE, help="calls a second")
    parser.add_argument(
        "--goals", nargs="+", type=float, default=_GOALS, help="p99, in median answers alone"
    )
    parser.add_argument("--calls", type=int, default=_CALLS, help="of a number of replicas, a turn")
    parser.add_argument("--turns", type=int, default=_TURNS, help="of the fit and all numbers")
    parser.add_argument("--counts", nargs="+", type=int, default=_COUNTS, help="of replicas")
    parser.add_argument("--share", type=float, default=_SHARE, help="of a core, that each has")
    parser.add_argument("--seed", type=int, default=1, help="of queries and moments")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for name in ("calls", "turns"):
        if not getattr(options, name) >= 1:
            parser.error(f"--{name} must be at least 1; got {getattr(options, name)}")
    counts = sorted(set(options.counts))
    if counts[0] < 1:
        parser.error(f"--counts must be at least 1; got {counts[0]}")
    if not 0 < options.share <= 1:
        parser.error(f"--share must be in (0, 1]; got {options.share:g}")
    from escalade.cli.process.quiet import quiet_third_party

    quiet_third_party()
    # Of what is imported now some has to say something.
    from benchmarks.sim_vs_live.replicas.groups import GroupsError
    from benchmarks.sim_vs_live.replicas.holding import Holding, Plan, table_of
    from benchmarks.sim_vs_live.replicas.servers import Replicas

    from escalade.cli.output import print_json
    from escalade.cli.tables import show_table
    from escalade.simulator.errors import SimulatorError

    # Whoever is told to stop lets its replicas go first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with ExitStack() as stack:
            replicas = Replicas(counts[-1], options.share, stack)
            plan = Plan(options.rate, counts, options.calls, options.turns, options.seed)
            rows = Holding(options.out, replicas, plan).rows(options.goals)
    except (GroupsError, SimulatorError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    if options.json:
        print_json(rows)
    else:
        show_table(table_of(rows))


if __name__ == "__main__":
    main()
