"""Where verbs write: no output takes the place of another, or of what is read; all said at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from small_traces import header

from escalade.cli.destinations import check_destinations
from escalade.cli.errors import CliError
from escalade.edge.errors import DataError
from escalade.edge.trace import write_trace

Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder that names are relative to."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


REFUSED = {
    "a file and a folder": ({"out": "x"}, {"figures": "x"}, "--out and --figures are both x"),
    "two files": ({"trace": "x", "outbox": "./x"}, {}, "--trace and --outbox are both x"),
    "a folder in a file": (
        {"out": "x"},
        {"figures": "x/y/z"},
        "--figures: x/y/z lies in x, which --out makes a file",
    ),
    "a file in a file": (
        {"trace": "x/y", "outbox": "x"},
        {},
        "--trace: x/y lies in x, which --outbox makes a file",
    ),
    "through a link": (
        {"out": "link/x"},
        {"tables": "folder/x"},
        "--out and --tables are both link/x",
    ),
    "a figure's name": (
        {"out": "x/curve.png"},
        {"figures": "x"},
        "--out: x/curve.png ends as what --figures writes there (.png, .svg)",
    ),
    "a table's name": (
        {"report": "x/loads.csv"},
        {"tables": "x"},
        "--report: x/loads.csv ends as what --tables writes there (.csv, .parquet)",
    ),
    "what is read": ({"out": "folder/../read"}, {}, "--out: folder/../read is read too"),
}


def named(options: dict[str, str]) -> dict[str, Path | None]:
    return {f"--{option}": Path(path) for option, path in options.items()}


@pytest.mark.parametrize(("files", "folders", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_an_output_that_another_would_lose_is_refused(
    here: Path, files: dict[str, str], folders: dict[str, str], says: str
) -> None:
    (here / "folder").mkdir()
    (here / "link").symlink_to("folder")
    (here / "read").touch()
    before = below(here)
    with pytest.raises(CliError) as refused:
        check_destinations(named(files), named(folders), read=[Path("read"), None])
    assert says in str(refused.value)
    assert below(here) == before


def test_a_folder_that_takes_no_files_is_refused(here: Path) -> None:
    (here / "file").touch()
    (here / "circle").symlink_to("circle")
    for name, says in (
        ("file", "file: is no folder; a folder's name is needed"),
        ("file/below", f"file/below: cannot be written: {here / 'file'} is no folder"),
        ("circle", "circle: cannot be written"),
    ):
        with pytest.raises(DataError) as refused:
            check_destinations({"--out": Path("x")}, {"--figures": Path(name)})
        assert says in str(refused.value)


def test_outputs_that_leave_each_other_alone_are_not(here: Path) -> None:
    """A folder for all of them, a device for two, one that is not given."""
    (here / "read").touch()
    check_destinations(
        {"--out": here / "all" / "report.html", "--report": None},
        {"--figures": here / "all", "--tables": here / "all", "OUT": None},
        read=[here / "read", here / "all"],
    )
    null = Path(os.devnull)
    check_destinations({"--out": null, "--stats": null}, read=[null])
    assert below(here) == ["read"]


VERBS = {
    "simulate": ("simulate {trace} --out x --figures x", "--out and --figures are both"),
    "simulate's columns": ("simulate {trace} --out x --tables x/y", "which --out makes a file"),
    "simulate's trace": ("simulate {trace} --out {trace}", "is read too"),
    "evaluate": ("evaluate {trace} --report x --figures x", "--report and --figures are both"),
    "evaluate's trace": ("evaluate a={trace} --report {trace}", "is read too"),
    "fleet": ("fleet {trace} --report x --tables x", "--report and --tables are both"),
    "learn": ("learn {trace} x --report x", "--report and OUT are both"),
    "learn's columns": ("learn {trace} x --report y --tables y/z", "which --report makes a file"),
    "ask": ("ask {trace} g2p --trace x --outbox x", "--trace and --outbox are both"),
    "listen": ("listen {trace} --trace x --outbox x", "--trace and --outbox are both"),
    "record": ("record x --data {trace} --out {trace}", "is read too"),
    "record's cascade": ("record {trace} --data x --out {trace}", "is read too"),
    "trace": ("trace one two {trace} {trace}", "is read too"),
    "router": ("router {trace} {trace}", "is read too"),
    "pick": ("ensemble pick one two --trace {trace} --out {trace}", "is read too"),
    "convert": ("profiles convert {trace} --out {trace}", "is read too"),
    "proxy": (
        "proxy --profile lan --upstream :1 --profiles {trace} --stats {trace}",
        "is read too",
    ),
}


@pytest.mark.parametrize(("line", "says"), VERBS.values(), ids=VERBS.keys())
def test_verbs_say_so_before_they_begin(here: Path, invoke: Invoke, line: str, says: str) -> None:
    write_trace(here / "t.jsonl", header(), [])
    before = (here / "t.jsonl").read_bytes()
    code, out, err = invoke(*line.format(trace="t.jsonl").split())
    (said,) = err.splitlines()
    assert (code, out, said[:7]) == (2, "", "error: ")
    assert says in said
    assert below(here) == ["t.jsonl"]
    assert (here / "t.jsonl").read_bytes() == before
