"""Writes docs/reference.md off the code: extras, exit codes, recipes, networks, what --json prints.

.venv/bin/python tests/reference_page.py    # writes the page anew
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from escalade.cli import demo, main, verbs
from escalade.cli.improvement.improving import Improved
from escalade.cli.lines import print_answer_json
from escalade.cli.lines.cascade import CascadeSummary
from escalade.cli.verbs.outbox import clear
from escalade.cli.verbs.store import rollback, sign, verify
from escalade.cli.verbs.token import new
from escalade.edge.deferral import CascadeCalibration, DeferralEntry
from escalade.edge.outbox.entry import Entry
from escalade.edge.shadow import RecordSummary
from escalade.edge.store.installation import Installed
from escalade.edge.store.version import Version
from escalade.edge.trace import TierAnswer
from escalade.export.held.lost import Exported
from escalade.simulator.devices.tables import DeviceRow
from escalade.simulator.ensembles.picked import Picked
from escalade.simulator.evaluation import Evaluation
from escalade.simulator.fleet.replicas.capacity import Capacity
from escalade.simulator.fleet.report import FleetReport
from escalade.simulator.load import LoadReport
from escalade.simulator.load.fitting import Fit
from escalade.simulator.load.loaded_fit import LoadedFit
from escalade.simulator.network.described.rows import ProfileReport, ProfileRow
from escalade.simulator.network.profiles.reading import shipped_profiles
from escalade.simulator.network.proxy.control import ProxyState
from escalade.simulator.planning.planned import Plan
from escalade.simulator.replay import Summary
from escalade.simulator.timing.drivers import DriverRow
from escalade.simulator.timing.report import ClockReport
from escalade.training.recipes import running
from escalade.training.recipes.recipe import Recipe
from escalade.training.router import RouterFigures

REPO = Path(__file__).resolve().parents[1]
PAGE = REPO / "docs" / "reference.md"

_UNBOUNDED = 1e6  # a bound beyond is there to keep arithmetic exact

Printed = type | Callable[..., Any] | str
#: What each call of `print_json` prints: values of a class, the keys of the dictionary that a
#: function writes, or a sentence.
JSON: dict[str, tuple[Printed, ...]] = {
    "ask": (print_answer_json, TierAnswer),
    "calibrate, an artifact": (DeferralEntry,),
    "calibrate, a cascade": (CascadeCalibration,),
    "demo": (demo.demo,),
    "ensemble pick": (Picked,),
    "evaluate": (Evaluation,),
    "export": (Exported, "`lost` is there where it was measured."),
    "fleet": (FleetReport,),
    "fleet --p99-s": (Capacity,),
    "health": (verbs.health,),
    "inspect, an artifact": (verbs.inspect, "`manifest` is what `export` prints."),
    "inspect, a cascade": (CascadeSummary,),
    "learn, of kind generation": (Improved,),
    "load": (
        LoadReport,
        "With `--fit`:",
        Fit,
        "With `--fit --rate`:",
        LoadedFit,
    ),
    "outbox clear": (clear,),
    "outbox list": (Entry, "A list of these."),
    "plan": (Plan,),
    "profiles": (ProfileRow, "A list of these."),
    "profiles devices": (DeviceRow, "A list of these."),
    "profiles drivers": (DriverRow, "A list of these."),
    "profiles show": (ProfileReport,),
    "proxy set, show, pause, resume, reset": (ProxyState,),
    "record": (RecordSummary,),
    "router": (RouterFigures,),
    "simulate": (Summary,),
    "simulate clock": (ClockReport,),
    "store install": (Installed,),
    "store rollback": (rollback,),
    "store sign": (sign,),
    "store verify": (verify,),
    "store versions": (Version, "A list of these."),
    "tasks": ("How many queries each split has, by its name.",),
    "token list": ("A list of `name`, `expires` and the token's own limits.",),
    "token new": (new,),
    "trace": (verbs.trace, "`exact_match` is of each model, by its name."),
    "train": (running.train_recipe,),
}


def page() -> str:
    """The whole page."""
    return (
        "\n\n".join(
            (
                "# Reference",
                "Written off the code by `.venv/bin/python tests/reference_page.py`; a test\n"
                "holds the page to it. For options, `escalade VERB --help`.",
                "## Extras",
                "What each brings beyond the device's packages ([install.md](install.md)).",
                _table(("extra", "brings"), _extras()),
                "## Exit codes",
                _table(("code", "when"), _exit_codes()),
                "## Keys of a recipe",
                "`escalade train RECIPE.toml` ([training.md](training.md)). Paths are relative\n"
                "to the recipe's folder; an unknown key is refused.",
                *_recipe(),
                "## Networks",
                "`--profile NAME` of `simulate`, `proxy`, `netns`. RTT is the median round trip,\n"
                "in ms; bandwidth in Mb/s from and to the cloud; loss a share of packets, each a\n"
                "stall but on `netns`.",
                _table(("name", "RTT", "down", "up", "jitter", "loss", "source"), _profiles()),
                "## What `--json` prints",
                "One document on stdout. Of each verb, the keys; `null` stands for what is not\n"
                "known or does not apply. What the other types hold is [below](#types).",
                *_json(),
            )
        )
        + "\n"
    )


def printing_calls() -> int:
    """How many places of the command line print JSON."""
    found = 0
    for path in (REPO / "cli" / "escalade").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            found += isinstance(node, ast.Call) and ast.unparse(node.func) == "print_json"
    return found


def _extras() -> Iterator[tuple[str, ...]]:
    settings = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    for name, packages in settings["optional-dependencies"].items():
        yield f"`{name}`", ", ".join(re.sub(r"[<>=].*", "", package) for package in packages)


def _exit_codes() -> Iterator[tuple[str, ...]]:
    yield "0", "it did what it was asked"
    yield "1", "a defect of ours: a traceback says where"
    yield (
        f"{main.USER_ERROR}",
        "one line, `error: ...`, on stderr: a wrong option or file, a refusal, a server that does"
        " not answer; `ask` printed the device's own answer where it had one (degraded)",
    )
    yield (
        "another",
        "of `netns`, that of its command; 128 and the signal's number where one ended it",
    )
    yield (
        f"{main._INTERRUPTED}",
        "Ctrl-C; `listen`, `serve`, `gateway` and `proxy` end with 0 instead",
    )
    yield (
        "143, 129",
        "SIGTERM, or a terminal that went (SIGHUP); one line says so; servers as above",
    )
    yield f"{main._READER_GONE}", "who reads the output has gone (`| head -1`); nothing is said"


def _recipe() -> Iterator[str]:
    top = [name for name in Recipe.__struct_fields__ if not _tables_in(Recipe, name)]
    yield _table(("key", "type", "default", "meaning"), _fields(Recipe, top))
    for name in Recipe.__struct_fields__:
        for table in _tables_in(Recipe, name):
            yield f"### `[{name}]`\n\n{inspect.getdoc(table)}"
            yield _table(
                ("key", "type", "default", "meaning"), _fields(table, table.__struct_fields__)
            )


def _profiles() -> Iterator[tuple[str, ...]]:
    for one in shipped_profiles().values():
        numbers = (one.rtt_ms, one.down_mbps, one.up_mbps, one.jitter_ms or None, one.loss or None)
        shown = ("" if number is None else f"{number:g}" for number in numbers)
        yield f"`{one.name}`", *shown, one.source


def _json() -> Iterator[str]:
    met: dict[str, type] = {}
    for verb, printed in JSON.items():
        yield f"### {verb}"
        for one in printed:
            if isinstance(one, str):
                yield one
            elif isinstance(one, type):
                yield from _class(one, met, titled=one is TierAnswer)
            else:
                yield ", ".join(f"`{key}`" for key in _keys(one))
    yield "## Types"
    done: set[str] = set()
    while waiting := [name for name in met if name not in done]:
        for name in waiting:
            done.add(name)
            if met[name] not in {one for printed in JSON.values() for one in printed}:
                yield f"### {name}"
                yield from _class(met[name], met)


def _class(one: type, met: dict[str, type], *, titled: bool = False) -> Iterator[str]:
    names = getattr(one, "__struct_fields__", None) or tuple(one.__annotations__)
    for hint in get_type_hints(one).values():
        for inner in _classes(hint):
            if (other := met.setdefault(inner.__name__, inner)) is not inner:
                raise LookupError(f"{other} and {inner} have one name: one would be left out")
    first = (inspect.getdoc(one) or "").partition("\n\n")[0]
    yield f"`said` is a {one.__name__}. {first}" if titled else first
    rows = ((key, kind, meaning) for key, kind, _, meaning in _fields(one, names))
    yield _table(("key", "type", "meaning"), rows)


def _classes(hint: Any) -> Iterator[type]:
    ours = isinstance(hint, type) and hint.__module__.startswith("escalade.")
    if ours and hasattr(hint, "__annotations__"):
        yield hint
    for inner in get_args(hint):
        yield from _classes(inner)


def _tables_in(one: type, name: str) -> list[type[msgspec.Struct]]:
    hint = get_type_hints(one)[name]
    return [inner for inner in _classes(hint) if issubclass(inner, msgspec.Struct)]


def _fields(one: type, names: Any) -> Iterator[tuple[str, str, str, str]]:
    comments, kinds = _sources(one)
    defaults = {}
    if issubclass(one, msgspec.Struct):
        defaults = {field.name: field.default for field in msgspec.structs.fields(one)}
    for name in names:
        default = defaults.get(name, msgspec.NODEFAULT)
        shown = "required" if default is msgspec.NODEFAULT else f"`{default!r}`"
        shown = "" if default is None else shown.replace("'", '"')
        yield f"`{name}`", f"`{kinds[name]}`", shown, comments[name]


@cache
def _sources(one: type) -> tuple[dict[str, str], dict[str, str]]:
    """What `#:` says above each field, or `Attributes:`; and its type as it is written."""
    comments: dict[str, str] = {}
    kinds: dict[str, str] = {}
    hints = get_type_hints(one, include_extras=True)
    for base in reversed([base for base in one.__mro__ if base.__module__.startswith("escalade.")]):
        source = textwrap.dedent(inspect.getsource(base))
        lines = source.splitlines()
        said = dict(re.findall(r"^    (\w+): ((?:.+\n?)(?:     .+\n?)*)", _attributes(base), re.M))
        for node in ast.parse(source).body[0].body:  # type: ignore[attr-defined]
            if not isinstance(node, ast.AnnAssign):
                continue
            name = ast.unparse(node.target)
            above: list[str] = []
            k = node.lineno - 2
            while lines[k].strip().startswith("#:"):
                above.insert(0, lines[k].strip().removeprefix("#:").strip())
                k -= 1
            comments[name] = " ".join(" ".join(above or said.get(name, "").split("\n")).split())
            kinds[name] = _kind(hints[name])
    return comments, kinds


def _attributes(one: type) -> str:
    return (inspect.getdoc(one) or "").partition("Attributes:\n")[2]


def _kind(hint: Any) -> str:
    """A type in words: what a literal may be, and ranges."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is None or hint is type(None):
        return "null"
    if origin is Literal:
        return " | ".join(f'"{value}"' for value in inner)
    if origin is Annotated:
        bounds = ((">=", "ge"), (">", "gt"), ("<=", "le"), ("<", "lt"))
        said = [
            f"{sign} {value:g}"
            for meta in inner[1:]
            for sign, name in bounds
            if (value := getattr(meta, name, None)) is not None and abs(value) < _UNBOUNDED
        ]
        return " ".join((_kind(inner[0]), *said))
    if origin in {Union, UnionType}:
        return " | ".join(_kind(one) for one in inner if one is not msgspec.UnsetType)
    if origin is not None:
        return f"{origin.__name__}[{', '.join(map(_kind, inner))}]"
    return getattr(hint, "__name__", str(hint))


def _keys(function: Callable[..., Any]) -> list[str]:
    """The keys of the dictionary that it gives `print_json`, or calls `metrics`."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    for node in ast.walk(tree):
        value: ast.expr | None = None
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print_json":
            value = node.args[0]
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "metrics":
            value = node.value
        if isinstance(value, ast.Dict):
            return _flat(value)
    raise LookupError(function)


def _flat(written: ast.Dict) -> list[str]:
    found = []
    for key, value in zip(written.keys, written.values, strict=True):
        name = ast.literal_eval(key) if key is not None else "..."
        found.append(name)
        if isinstance(value, ast.ListComp) and isinstance(value.elt, ast.Dict):
            found += [f"{name}[].{inner}" for inner in _flat(value.elt)]
    return found


def _table(head: tuple[str, ...], rows: Any) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines
    )


if __name__ == "__main__":
    PAGE.write_text(page())
