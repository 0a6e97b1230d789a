"""How large a fresh device install is, by package; knows no model.

Installs this checkout without extras into an empty environment and adds up the files that
each distribution put there, bytecode included.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from rich.table import Table

from escalade.cli.output import note_console, result_console

REPOSITORY = Path(__file__).parents[1]
_MB = 1e6
# What Raspberry Pi OS Bookworm (glibc 2.36) takes of manylinux (PEP 600).
_AARCH64 = ("manylinux2014_aarch64", *(f"manylinux_2_{n}_aarch64" for n in range(17, 37)))

# Runs in the new environment: {distribution: bytes}.
_SIZES = """
import json
from importlib.metadata import distributions
from pathlib import Path

sizes = {}
for found in distributions():
    paths = {Path(found.locate_file(name)).resolve() for name in found.files or []}
    sizes[found.name] = sum(path.stat().st_size for path in paths if path.is_file())
print(json.dumps(sizes))
"""


def main() -> None:
    """Install, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--aarch64", action="store_true", help="the wheels of 64-bit Arm instead; nothing is run"
    )
    options = parser.parse_args()
    note_console().print("installing into an empty environment ...", style="dim")
    sizes = of_aarch64() if options.aarch64 else of_this_machine()
    total = sum(sizes.values())
    if options.json:
        print(json.dumps({"total_bytes": total, "packages": sizes}))
        return
    table = Table("package", "MB")
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        table.add_row(name, f"{size / _MB:.1f}")
    result_console().print(table)
    where = "aarch64" if options.aarch64 else sys.platform
    result_console().print(f"{len(sizes)} packages, {total / _MB:.0f} MB on {where}")


def of_this_machine() -> dict[str, int]:
    """Bytes by distribution of an installation here."""
    with tempfile.TemporaryDirectory() as scratch:
        venv.create(scratch, with_pip=True)
        python = Path(scratch) / "bin" / "python"
        before = measured(python)
        constraints = REPOSITORY / "constraints.txt"
        install = ["-m", "pip", "install", "-q", str(REPOSITORY), "-c", str(constraints)]
        subprocess.run([python, *install], check=True)
        return {name: size for name, size in measured(python).items() if name not in before}


def of_aarch64() -> dict[str, int]:
    """Bytes by distribution of what pip unpacks for Linux on 64-bit Arm, with this Python."""
    with tempfile.TemporaryDirectory() as scratch:
        pip = [sys.executable, "-m", "pip"]
        wheels, target = Path(scratch) / "wheels", Path(scratch) / "target"
        subprocess.run(
            [*pip, "wheel", "-q", "--no-deps", "-w", str(wheels), str(REPOSITORY)], check=True
        )
        platforms = [f"--platform={name}" for name in _AARCH64]
        install = [*pip, "install", "-q", "--only-binary=:all:", f"--target={target}", *platforms]
        constraints = f"--constraint={REPOSITORY / 'constraints.txt'}"
        subprocess.run([*install, constraints, *map(str, wheels.iterdir())], check=True)
        return measured(sys.executable, "-S", PYTHONPATH=str(target))


def measured(*python: str | Path, **environment: str) -> dict[str, int]:
    """Bytes by distribution in the environment of an interpreter, given with its options."""
    done = subprocess.run(
        [*python, "-c", _SIZES],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    sizes: dict[str, int] = json.loads(done.stdout)
    return sizes


if __name__ == "__main__":
    main()
