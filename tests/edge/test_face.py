"""What the device's half is entered by, and what it leaves out of memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

import escalade.edge

# Of whoever answers with one model, and asks no other.
ONE_MODEL = (
    *("artifact", "base", "classification", "deferral", "errors", "generation", "memory"),
    "runtimes",
)


def test_every_name_is_there_and_no_other() -> None:
    for name in escalade.edge.__all__:
        assert getattr(escalade.edge, name).__name__ == name
    with pytest.raises(AttributeError, match=r"^module 'escalade\.edge' has no attribute 'Nobody'"):
        getattr(escalade.edge, "Nobody")  # noqa: B009 - mypy knows that there is none


def test_names_and_modules_are_there_before_anybody_imported_them() -> None:
    code = (
        "import escalade.edge\n"
        "assert set(escalade.edge.__all__) <= set(dir(escalade.edge))\n"
        "print(escalade.edge.errors.EdgeError.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "EdgeError\n"


def test_one_model_has_no_cascade_in_memory() -> None:
    code = (
        "import sys\n"
        "from escalade.edge import Artifact\n"
        "ours = [name for name in sys.modules if name.startswith('escalade.edge.')]\n"
        "print(' '.join(sorted({name.split('.')[2] for name in ours})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert tuple(done.stdout.split()) == ONE_MODEL
