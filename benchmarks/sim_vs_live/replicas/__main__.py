"""Holds a fleet's plan against live replicas: `python -m benchmarks.sim_vs_live.replicas`.

For each load and each p99 that is wanted: how many replicas `escalade fleet --p99-s` says, and how
many live servers it takes. What is in the folder is not measured again. It takes Linux and root,
for control groups; the machine should have nothing else to do.
"""

from __future__ import annotations

import argparse
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from benchmarks.study.jobs import REPOSITORY

#: All replicas together have less than a core: the other one is the driver's.
_MOST, _SHARE = 8, 0.1
#: Calls a second, and seconds: between them 2 to 5 replicas.
_RATES, _GOALS_S = (25.0,), (0.55, 0.65, 0.8, 1.1)


def main() -> None:
    """Measure what is missing, and print it."""
    parser = argparse.ArgumentParser(prog="sim-vs-live.replicas", description=__doc__)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "runs" / "replicas")
    parser.add_argument("--rates", nargs="+", type=float, default=_RATES, help="calls a second")
    parser.add_argument("--goals", nargs="+", type=float, default=_GOALS_S, help="p99, seconds")
    parser.add_argument("--calls", type=int, default=800, help="of a live run")
    parser.add_argument("--most", type=int, default=_MOST, help="replicas")
    parser.add_argument("--share", type=float, default=_SHARE, help="of a core, that each has")
    parser.add_argument("--seed", type=int, default=1, help="of queries and moments")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for name in ("calls", "most"):
        if not getattr(options, name) >= 1:
            parser.error(f"--{name} must be at least 1; got {getattr(options, name)}")
    if not 0 < options.share <= 1:
        parser.error(f"--share must be in (0, 1]; got {options.share:g}")
    from escalade.cli.process.quiet import quiet_third_party

    quiet_third_party()
    # Of what is imported now some has to say something.
    from benchmarks.sim_vs_live.replicas.groups import GroupsError
    from benchmarks.sim_vs_live.replicas.holding import Holding, table_of
    from benchmarks.sim_vs_live.replicas.servers import Replicas

    from escalade.cli.output import print_json, show_table
    from escalade.simulator.errors import SimulatorError

    # Whoever is told to stop lets its replicas go first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with ExitStack() as stack:
            replicas = Replicas(options.most, options.share, stack)
            holding = Holding(options.out, replicas, calls=options.calls, seed=options.seed)
            rows = [holding.row(rate, goal) for rate in options.rates for goal in options.goals]
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
