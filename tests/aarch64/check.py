"""`make test-aarch64`: the artifacts that this machine exports, opened by an emulated arm64 device.

An aarch64 check, not a phone: it finds illegal instructions, missing operators and drift of the
score, and says nothing of speed, memory or energy. Exit status 1 when something is wrong, 2 when
the check cannot be run here.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import cast

import msgspec
from arm64_tree import (
    CPUS,
    MIRROR,
    PYTHON,
    REPO,
    CheckError,
    Cpu,
    last_line,
    ready_tree,
    run,
    run_in,
)
from listening import listened
from recipe import SCRIPT, sign, walk
from verdict import (
    FLOAT32,
    ITS_OWN,
    ROUNDED_BY_DOT_PRODUCTS,
    TOLERANCES,
    Asked,
    Played,
    Row,
    failures_of,
    show,
)

from escalade.cli.demo.processes import running
from escalade.cli.output import note_console, print_json
from escalade.cli.process.quiet import quiet_third_party
from escalade.edge import EdgeClient
from escalade.edge.artifact import GoldenEntry, Manifest, Scheme, load_manifest, read_manifest
from escalade.edge.base.records import Record, subsample, write_records

HOME = REPO / "runs" / "aarch64"
CHECKPOINTS = REPO / "training" / "checkpoints"
SHARED = "srv"  # the tree's folder that both sides use
DATA = "valid.jsonl"

_GOLDEN_EACH_TASK = 15
_CALIBRATION = ("--target-deferral-rate", "0.3", "--limit", "200")
# Another threshold, of the version that a board is updated to.
_RECALIBRATION = ("--target-deferral-rate", "0.4", "--limit", "200")
# Under emulation, where a query takes a fifth of a second.
_CALIBRATION_THERE = (*_CALIBRATION[:3], "60")


def main() -> int:
    """Run the check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=CHECKPOINTS / "small-cat-xent")
    parser.add_argument("--large", type=Path, default=CHECKPOINTS / "large")
    parser.add_argument("--schemes", nargs="+", choices=TOLERANCES, default=list(TOLERANCES))
    parser.add_argument("--cpus", nargs="+", choices=CPUS, default=list(CPUS))
    parser.add_argument("--mirror", default=MIRROR, help="Debian's, for debootstrap")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    quiet_third_party()
    started = time.perf_counter()
    notes = note_console()

    def say(line: str) -> None:
        notes.print(f"{line} ...", style="dim")

    rows: list[Row] = []
    failures: list[str] = []
    devices: dict[str, Played] = {}
    try:
        tree = ready_tree(HOME, mirror=options.mirror, say=say)
        say(f"exporting {options.model.name}: {', '.join(options.schemes)}")
        artifacts = export(options.model, options.schemes, tree / SHARED)
        unrounded = golden_without_rounding(options.model, artifacts)
        for file in (*map(Path(__file__).with_name, ("on_device.py", "sdot.py")), HOME / DATA):
            shutil.copy(file, tree / SHARED)
        say(f"starting escalade serve {options.large.name}")
        with running("the server", "serve", str(options.large), "--listen", "127.0.0.1:0") as at:
            for cpu in (CPUS[name] for name in options.cpus):
                say(f"{cpu.name}, as in the {cpu.board}")
                failures += refusal(tree, cpu)
                for folder, manifest in artifacts.items():
                    due, tolerance = manifest.golden, TOLERANCES[folder.name]
                    if not cpu.dot_product and folder.name in unrounded:
                        due, tolerance = unrounded[folder.name], FLOAT32
                    row = Row(cpu=cpu.name, scheme=folder.name, tolerance=tolerance)
                    rows.append(row)
                    if (played := play(tree, cpu, folder, manifest, due, row)) is not None:
                        devices[cpu.name] = played
                    ask(tree, cpu, folder, manifest, at, row)
                    if folder.name == "int4":
                        rows.append(arms_own_kernels(tree, cpu, folder))
                first, manifest = next(iter(artifacts.items()))
                row = next(row for row in rows if (row.cpu, row.scheme) == (cpu.name, first.name))
                listen(tree, cpu, first, manifest, at, row)
    except CheckError as error:
        notes.print(f"error: {' '.join(str(error).split())}")
        return 2
    failures += failures_of(rows)
    seconds = time.perf_counter() - started
    if options.json:
        found = {"rows": rows, "devices": {cpu: each.words() for cpu, each in devices.items()}}
        print_json({**found, "failures": failures, "seconds": round(seconds, 1)})
    else:
        show(rows, devices, failures, seconds)
    return 1 if failures else 0


def export(model: Path, schemes: list[str], home: Path) -> dict[Path, Manifest]:
    """Folders and manifests of the artifacts, exported and calibrated on this machine."""
    from escalade.export.artifact.artifact import export_artifact
    from escalade.training.data.tasks import load_pronunciations, make_records

    records = list(make_records("valid", load_pronunciations()))
    data = HOME / DATA
    write_records(data, records)
    prompts = [record.prompt for record in each_task(records)]
    manifests = {}
    for name in schemes:
        folder = home / name
        export_artifact(
            model, folder, quantize=cast("Scheme", name), golden_prompts=prompts, tuned=False
        )
        command = ("escalade.cli", "calibrate", str(folder), "--data", str(data))
        run(sys.executable, "-m", *command, *_CALIBRATION)
        manifests[folder] = read_manifest(folder)
    return manifests


def golden_without_rounding(
    model: Path, artifacts: dict[Path, Manifest]
) -> dict[str, list[GoldenEntry]]:
    """By scheme, what the same weights answer here to the same prompts in float32.

    Of those schemes whose activations a processor with a dot product of bytes rounds.
    """
    from escalade.export.artifact.artifact import export_artifact

    found = {}
    for folder, manifest in artifacts.items():
        if folder.name in ROUNDED_BY_DOT_PRODUCTS:
            found[folder.name] = export_artifact(
                model, HOME / f"{folder.name}-float32", quantize=cast("Scheme", folder.name),
                golden_prompts=[golden.prompt for golden in manifest.golden], activation_bits=32,
                tuned=False,
            ).golden  # fmt: skip
    return found


def each_task(records: list[Record]) -> list[Record]:
    """As many records of each task, evenly spread."""
    return [
        record
        for task in dict.fromkeys(record.task for record in records)
        for record in subsample([each for each in records if each.task == task], _GOLDEN_EACH_TASK)
    ]


def refusal(tree: Path, cpu: Cpu) -> list[str]:
    """Whether an instruction that the processor lacks is refused, so that the check can fail."""
    expected = 0 if cpu.dot_product else -signal.SIGILL
    done = run_in(tree, cpu, PYTHON, f"/{SHARED}/sdot.py")
    if done.returncode == expected:
        return []
    return [f"{cpu.name}: SDOT must end with {expected}: {last_line(done)}"]


def play(
    tree: Path, cpu: Cpu, folder: Path, manifest: Manifest, due: list[GoldenEntry], row: Row
) -> Played | None:
    """Let the device open an artifact and answer its golden prompts; `due` is what it should."""
    done = run_in(tree, cpu, PYTHON, f"/{SHARED}/on_device.py", f"/{SHARED}/{folder.name}")
    if done.returncode:  # an illegal instruction ends here
        row.failures.append(f"on_device.py: {last_line(done)}")
        return None
    played = msgspec.json.decode(done.stdout, type=Played)
    threshold = manifest.deferral.threshold
    assert threshold is not None  # it has been calibrated
    row.take_golden(
        played, dot_product=cpu.dot_product, threshold=threshold,
        manifest=manifest.golden, expected=due,
    )  # fmt: skip
    return played


def ask(tree: Path, cpu: Cpu, folder: Path, manifest: Manifest, at: str, row: Row) -> None:
    """`escalade ask` on the device: what it is unsure of goes to this machine's server."""
    by_score = sorted(manifest.golden, key=lambda golden: golden.nll)
    sure, unsure = by_score[0].prompt, by_score[-1].prompt
    with EdgeClient.open(folder, cloud=at) as client:
        by_large = client.ask_last(unsure).text
    for prompt, expected in ((unsure, by_large), (sure, None)):
        command = ("ask", f"/{SHARED}/{folder.name}", prompt, "--cloud", at, "--json")
        done = run_in(tree, cpu, PYTHON, SCRIPT, *command)
        if done.returncode:
            row.failures.append(f"escalade ask {prompt!r}: {last_line(done)}")
        else:
            asked = msgspec.json.decode(done.stdout, type=Asked)
            row.take_asked(asked, prompt, by_large=expected)


def arms_own_kernels(tree: Path, cpu: Cpu, folder: Path) -> Row:
    """`escalade calibrate --kernels kleidiai` on the device, and what it answers from then on.

    Of `int4`. A processor that does not sum products of bytes has no such kernels in ONNX Runtime:
    there it must be refused.
    """
    ours = folder.with_name("kleidiai")
    shutil.rmtree(ours, ignore_errors=True)
    shutil.copytree(folder, ours)
    row = Row(cpu=cpu.name, scheme=f"{folder.name}, KleidiAI", tolerance=ITS_OWN)
    command = ("calibrate", f"/{SHARED}/{ours.name}", "--data", f"/{SHARED}/{DATA}")
    options = (*_CALIBRATION_THERE, "--kernels", "kleidiai")
    done = run_in(tree, cpu, PYTHON, SCRIPT, *command, *options)
    refused = "change no digit of" in done.stderr
    if done.returncode != (0 if cpu.dot_product else 2) or refused == cpu.dot_product:
        row.failures.append(f"escalade calibrate --kernels kleidiai: {last_line(done)}")
    elif refused:
        row.scheme += ", refused"
    else:
        kept = load_manifest(ours)
        play(tree, cpu, ours, kept, kept.golden, row)
    return row


def listen(tree: Path, cpu: Cpu, folder: Path, manifest: Manifest, at: str, row: Row) -> None:
    """`escalade listen` on the device, asked over HTTP: of the folder, and as the recipe has it."""
    by_score = sorted(manifest.golden, key=lambda golden: golden.nll)
    prompts, log = [by_score[0].prompt, by_score[-1].prompt], HOME / f"listen-{cpu.name}.log"
    own = f"/{SHARED}/{folder.name}"
    command = (PYTHON, SCRIPT, "listen", own, "--port", "0", "--cloud", at)
    try:
        answers = listened(tree, cpu, command, prompts=prompts, log=log)
        row.take_listened([answer.escalade.outcome for answer in answers])
        signed = sign(folder, ("--data", str(HOME / DATA), *_RECALIBRATION), tree, SHARED)
        row.failures += walk(tree, cpu, signed, cloud=at, prompts=prompts, log=log)
    except CheckError as error:
        row.failures.append(str(error))


if __name__ == "__main__":
    sys.exit(main())
