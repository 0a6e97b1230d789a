"""`make test-netns`: `escalade netns` on a kernel that has netem, measured, beside the live proxy.

Exit status 1 when something is wrong, 2 when the check cannot be run here.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import msgspec
from measure import HERE, Found
from uml import REPO, SHARED, CheckError, Machine, ready_machine, run_in
from verdict import failures_of, rows_of, show

from escalade.cli.output import note_console, print_json, result_console
from escalade.simulator.network import profiles_with

HOME = REPO / "runs" / "netns"

#: What any machine tests as far as its kernel goes: here it has all of it.
_TESTS = (
    "tests/simulator/network/kernel/test_network.py",
    "tests/simulator/timing/test_echo.py",
    "tests/cli/verbs/test_netns.py",
)
_PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--no-header")
_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", "HOME=/tmp")
_LONGEST_S = 1200.0


def main() -> int:
    """Run the check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--tests-only", action="store_true", help="measure nothing")
    options = parser.parse_args()
    notes, started = note_console(), time.perf_counter()

    def say(line: str) -> None:
        notes.print(f"{line} ...", style="dim")

    found: list[Found] = []
    try:
        HOME.mkdir(parents=True, exist_ok=True)
        machine = ready_machine(HOME, say=say)
        failures: list[str] = []
        for who, before in (("root", ()), ("nobody, in a namespace of users", _NOBODY)):
            say(f"{machine.words}: the driver's tests as {who}")
            failures += _tested(machine, who, before)
        if not options.tests_only:
            say(f"{machine.words}: measuring, some minutes")
            found = _measured(machine)
    except CheckError as error:
        notes.print(f"error: {' '.join(str(error).split())}")
        return 2
    known = dict(profiles_with(HERE / "networks.toml"))
    rows = rows_of(found, known)
    if found:
        failures += failures_of(found, known)
    seconds = time.perf_counter() - started
    if options.json:
        print_json({"machine": machine.words, "rows": rows, "failures": failures})
    else:
        if found:
            show(rows, found)
        for line in failures:
            result_console().print(f"FAILED {line}")
        verdict = f"{len(failures)} failures" if failures else "all as it should be"
        result_console().print(f"{machine.words}: {verdict}; took {seconds:.0f} s")
    return 1 if failures else 0


def _tested(machine: Machine, who: str, before: tuple[str, ...]) -> list[str]:
    """The driver's own tests; none may be left out."""
    command = [*before, *_PYTEST, *_TESTS]
    ended = run_in(machine, command, HOME, longest_s=_LONGEST_S)
    last = (ended.printed.strip().splitlines() or ["no output"])[-1]
    if ended.status or "skipped" in last:
        (HOME / f"{who.split(',', maxsplit=1)[0]}.log").write_text(ended.printed)
        return [f"tests as {who}: {last} (runs/netns/{who.split(',', maxsplit=1)[0]}.log)"]
    return []


def _measured(machine: Machine) -> list[Found]:
    out = Path("found.json")
    command = [sys.executable, str(HERE / "measure.py"), f"{SHARED}/{out}"]
    ended = run_in(machine, command, HOME, longest_s=_LONGEST_S)
    if ended.status:
        last = (ended.printed.strip().splitlines() or ["no output"])[-1]
        raise CheckError(f"measuring ended with {ended.status}: {last}")
    return msgspec.json.decode((HOME / out).read_bytes(), type=list[Found])


if __name__ == "__main__":
    sys.exit(main())
