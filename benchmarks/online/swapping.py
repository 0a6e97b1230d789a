"""What swapping models and learning cost the answers of a gateway, beside the same without.

    .venv/bin/python -m benchmarks.online.swapping DATA

DATA are query records whose first reference is the label. What learns is linear, or the encoder of
`--encoder FOLDER` (of transformers). Gateways and an expert (a linear classifier of all DATA,
behind a gateway) are processes of their own, asked in an open loop, so that what a stall holds up
is counted. Prints milliseconds from when a request was due.
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import msgspec
from rich.table import Table

from escalade.cli.demo.processes import running
from escalade.cli.output import note_console, result_console
from escalade.cli.process.quiet import quiet_third_party
from escalade.edge.artifact import load_manifest, write_manifest
from escalade.edge.base import Record, read_records
from escalade.edge.store import Store, install
from escalade.edge.wire import CloudClient
from escalade.export.linear import export_linear_folder
from escalade.simulator.load import LoadReport, Plan, Target, run_load
from escalade.training.online import ColumnTable, Configuration, EncoderTable, LinearTable
from escalade.training.online.levels import Example
from escalade.training.online.opening import open_rungs

_LINEAR, _ENCODER = "linear", "encoder"
_BATCH = 32
_EVERYTHING, _NOTHING = 0.0, 1e9  # thresholds: what they defer
_LISTEN = ("--listen", "127.0.0.1:0")
_SWITCHING = "kept, switching"
# By the version that it begins with: where nothing can be certified all is deferred and learned
# from, a version for each 64 queries; where anything is, all is kept, and half of it learned from.
_LEARNING = {
    "deferred": "epsilon = 0.0001\ndelta = 0.0001\npublish_items = 64\n",
    "kept above": "epsilon = 0.9\ndelta = 0.5\nshare = 0.5\nwindow = 20\npublish_items = 64\n",
}
_LEARNING[_ENCODER] = _LEARNING["deferred"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each run")
    parser.add_argument("--rounds", type=int, default=3, help="of all runs, in turns")
    parser.add_argument("--switches", type=int, default=20, help="of versions, in one run")
    parser.add_argument("--encoder", type=Path, help="folder of transformers")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    quiet_third_party()

    records = list(read_records(options.data))
    labels = sorted({record.references[0] for record in records})
    texts = [record.prompt for record in records]
    linear = LinearTable(name=_LINEAR)
    encoder = options.encoder and EncoderTable(name=_ENCODER, path=str(options.encoder.resolve()))
    plan = Plan(rate=options.rate, seconds=options.seconds, warm_up_s=1.0)
    found: dict[str, list[LoadReport]] = {}
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            _artifact(folder / "half", linear, records[::2], labels, _NOTHING)
            _artifact(folder / "kept", linear, records, labels, _NOTHING)
            _artifact(folder / "kept above", linear, records, labels, _NOTHING)
            _artifact(folder / "deferred", linear, records[:_BATCH], labels, _EVERYTHING)
            runs = {"kept": linear, _SWITCHING: linear, "deferred": linear, "kept above": linear}
            if encoder:
                _artifact(folder / _ENCODER, encoder, [], labels, _EVERYTHING)
                runs = {_ENCODER: encoder}
            runs |= {f"{one}, learning": runs[one] for one in runs if one in _LEARNING}
            # Pauses of who asks are none of the gateway's.
            gc.collect()
            gc.freeze()
            for run, address in _gateways(folder, labels, runs):
                note_console().print(f"round {number + 1}: {run} ...")
                switches = options.switches if run == _SWITCHING else 0
                with _switching(folder / run, address, folder / "half", switches):
                    report = run_load(Target(address=address, prompts=texts), plan)
                found.setdefault(run, []).append(report)
    if options.json:
        print(json.dumps({name: msgspec.to_builtins(one) for name, one in found.items()}, indent=2))
        return
    table = Table(
        title=f"{options.rate:g} requests a second for {options.seconds:g} s, {options.rounds}"
        " times: ms, the median round's (and the least and most)"
    )
    for column in ("run", "answered", "failed", "p50", "p99", "max"):
        table.add_column(column, justify="left" if column == "run" else "right")
    for name, reports in found.items():
        answered = sum(one.answered for one in reports)
        failed = sum(one.requests for one in reports) - answered
        table.add_row(name, str(answered), str(failed), *_spreads(reports))
    result_console().print(table)


def _spreads(reports: Sequence[LoadReport]) -> Iterator[str]:
    latencies = [one.latency for one in reports if one.latency is not None]
    for name in ("p50", "p99", "max"):
        ms = sorted(1e3 * getattr(one, name) for one in latencies)
        yield f"{ms[len(ms) // 2]:.1f} ({ms[0]:.1f}-{ms[-1]:.1f})"


def _gateways(
    folder: Path, labels: Sequence[str], runs: Mapping[str, LinearTable | EncoderTable]
) -> Iterator[tuple[str, str]]:
    """Each run's name and the address of its gateway, which lives until the next is asked for."""
    (folder / "expert.toml").write_text('[[tiers]]\nmembers = ["kept"]\n')
    with running("expert", "gateway", str(folder / "expert.toml"), *_LISTEN) as expert:
        for run, table in runs.items():
            version, _, rest = run.partition(", ")
            place = folder / run
            install(str(folder / version), place / "store")
            above = f'\n[[tiers]]\naddress = "{expert}"\nsend = "text"\n'
            (place / "cascade.toml").write_text(
                '[[tiers]]\nname = "small"\nmembers = ["store/current"]\n'
                + above * (version in _LEARNING)
            )
            more = []
            if rest == "learning":
                more = _learn(place, labels, table, _LEARNING[version])
            path = str(place / "cascade.toml")
            with running("gateway", "gateway", path, *_LISTEN, *more) as address:
                yield run, address


def _artifact(
    out: Path,
    table: LinearTable | EncoderTable,
    records: Sequence[Record],
    labels: Sequence[str],
    threshold: float,
) -> None:
    [rung] = open_rungs(
        Configuration(
            labels=[*labels],
            expert=ColumnTable(column="expert"),
            level=[table],
        )
    )
    level = rung.level
    for first in range(0, len(records), _BATCH):
        few = records[first : first + _BATCH]
        level.learn([Example(one.prompt, labels.index(one.references[0])) for one in few])
    level.save(out.with_suffix(".level"))
    if isinstance(table, LinearTable):
        manifest = export_linear_folder(out.with_suffix(".level"), out)
    else:
        from escalade.export.artifact.classifier import export_classifier

        manifest = export_classifier(out.with_suffix(".level"), out)
    deferral = msgspec.structs.replace(manifest.deferral, threshold=threshold)
    write_manifest(out, msgspec.structs.replace(load_manifest(out), deferral=deferral))


@contextmanager
def _switching(place: Path, address: str, other: Path, switches: int) -> Iterator[None]:
    """Install and roll back in turns, each time once the version before is served."""
    store = Store(place / "store")

    def switch() -> None:
        client = CloudClient(address, deadline_s=60.0)
        for number in range(switches):
            before = client.model_info().model.revision
            if number % 2:
                store.rollback()
            else:
                install(str(other), store.folder, allow_older=True)
            while client.model_info().model.revision == before:
                time.sleep(0.05)
        client.close()

    with ThreadPoolExecutor(1) as pool:
        switched = pool.submit(switch)
        yield
        switched.result()


def _learn(
    place: Path, labels: Sequence[str], table: LinearTable | EncoderTable, settings: str
) -> list[str]:
    path = place / "learn.toml"
    level = '[[level]]\nname = "small"\nkind = '
    if isinstance(table, LinearTable):
        level += f'"{_LINEAR}"\n'
    else:
        level += f'"{_ENCODER}"\npath = {json.dumps(table.path)}\n'
    path.write_text(f"labels = {json.dumps(labels)}\n{settings}\n{level}")
    return ["--learn", str(path)]


if __name__ == "__main__":
    main()
