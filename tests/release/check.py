"""`make dist`: builds wheel and sdist into dist/, checks both, installs the wheel where nothing is.

Exit status 1 when something is wrong. It publishes nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

from contents import PARTS, sdist_defects, wheel_defects

REPO = Path(__file__).resolve().parents[2]
DIST = REPO / "dist"
PAGE = REPO / "edge" / "web" / "dist"

#: Runs in the new environment, on its own packages alone.
_DEVICE = """
import sys
from importlib.util import find_spec

import escalade.edge
import escalade.edge.artifact, escalade.edge.store, escalade.edge.tiers, escalade.edge.trace
from escalade.edge import EdgeClient

heavy = ("torch", "transformers", "executorch")
there = [name for name in heavy if find_spec(name)]
sys.exit(f"a device has {', '.join(there)}" if there else 0)
"""


def main() -> int:
    """Build, check and install."""
    began = time.perf_counter()
    for old in DIST.glob("escalade-*"):
        old.unlink()
    # The wheel is built from the sdist, so that this is seen to be whole.
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", DIST, REPO)
    wheel, sdist = _only("*.whl"), _only("*.tar.gz")
    _run(sys.executable, "-m", "twine", "--no-color", "check", "--strict", wheel, sdist)
    found = wheel_defects(wheel, REPO) + sdist_defects(sdist)
    print(*found, sep="\n", end="\n" if found else "")
    with tempfile.TemporaryDirectory() as folder:
        said = _installed(wheel, Path(folder))
    for path in (wheel, sdist):
        print(f"{path.relative_to(REPO)}: {path.stat().st_size / 1e6:.1f} MB")
    print(f"{len(PARTS)} parts, typed; installed into an empty environment: {said}; no torch")
    pages = sorted(PAGE.glob("escalade-web-page-*.tar.gz"))
    where = pages[-1].relative_to(REPO) if pages else "not built (make web, with node)"
    print(f"the browser's page: {where}")
    print(f"{len(found)} defects, {time.perf_counter() - began:.0f} s")
    return 1 if found else 0


def _only(pattern: str) -> Path:
    (found,) = DIST.glob(f"escalade-{pattern}")
    return found


def _installed(wheel: Path, home: Path) -> str:
    """What `escalade --version` says after an install as docs/install.md has it."""
    venv.create(home, with_pip=True)
    python, escalade = home / "bin" / "python", home / "bin" / "escalade"
    constraints = REPO / "constraints.txt"
    _run(python, "-m", "pip", "install", "--quiet", wheel, "--constraint", constraints)
    _run(python, "-m", "pip", "check")
    _run(python, "-I", "-c", _DEVICE)
    if "Usage: escalade" not in _run(escalade, "--help"):
        raise SystemExit("escalade --help shows no usage")
    return _run(escalade, "--version").strip()


def _run(*command: str | Path) -> str:
    """What a command prints; ends with all of it where it fails. Run outside of the checkout."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, env=clean, cwd="/", capture_output=True, text=True, check=False)
    if done.returncode:
        shown = " ".join(str(part) for part in command[:6])
        raise SystemExit(f"error: {shown} ...: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
