"""An export that was interrupted goes on where it stopped, and gives what it would have given."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor

from escalade.checkpoint import CheckpointError
from escalade.edge.artifact import Manifest, read_manifest
from escalade.edge.errors import ArtifactError, NoRoomError
from escalade.export.artifact.artifact import export_artifact
from escalade.export.errors import ExportError
from escalade.export.kept import Kept, kept_beside
from escalade.export.text import RoundingText

BITS = 9.0
PROMPTS = ["g2p: cat", "g2p: banana", "g2p: insecticide", "g2p: photograph", "g2p: cartwheel"]
BY_PROMPTS = RoundingText(PROMPTS)
PROGRAM = ("model.onnx", "model.onnx.data", "model.onnx.planes")


def programs(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in PROGRAM]


def steps_beside(out: Path) -> list[Path]:
    return sorted(path for path in out.parent.iterdir() if path.suffix == ".steps")


def test_a_step_is_taken_once_and_again_for_anything_else(tmp_path: Path) -> None:
    taken: list[str] = []

    def once(kept: Kept, value: float) -> Tensor:
        def make() -> dict[str, Tensor]:
            taken.append("made")
            return {"value": torch.full((2, 3), value).T}

        return kept.once("layers.0", make)["value"]

    assert float(once(Kept(), 1.0).mean()) == 1  # nobody said where, nor for what
    kept = Kept(tmp_path / "a")
    assert kept.begin({"weights": "x"}) == 0
    first = once(kept, 2.0)
    other = Kept(tmp_path / "a")
    assert other.begin({"weights": "y"}) == 0
    other.clear()
    assert len(steps_beside(tmp_path / "a")) == 1  # one that runs keeps its own
    again = Kept(tmp_path / "a")
    assert again.begin({"weights": "x"}) == 1
    assert torch.equal(once(again, 3.0), first)
    beside = Kept(tmp_path / "a.b")  # its neighbour's are not its own
    assert beside.begin({"weights": "x"}) == 0
    assert float(once(beside, 4.0).mean()) == 4
    assert len(taken) == 3
    [step] = (path for path in tmp_path.glob(".a.*/*") if not path.parent.name.startswith(".a.b."))
    step.write_bytes(step.read_bytes()[:-1])  # power was cut
    assert float(once(again, 5.0).mean()) == 5
    kept.clear()  # of two that are alike the last takes them away
    assert len(steps_beside(tmp_path / "a")) == 2
    again.close()
    other = Kept(tmp_path / "a")
    assert other.begin({"weights": "y"}) == 0
    assert len(steps_beside(tmp_path / "a")) == 2  # with that of a.b
    assert float(once(other, 6.0).mean()) == 6
    other.clear()
    beside.clear()
    assert not list(tmp_path.iterdir())


def test_a_step_that_was_damaged_is_taken_again(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "a")
    kept.begin({})
    made = {"x": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3), "none": torch.empty(0)}
    for step in ("one", "two"):
        kept.once(step, lambda: made)
    [path] = tmp_path.glob(".a.*/one.safetensors")
    whole = path.read_bytes()
    taken: list[str] = []

    def again() -> dict[str, Tensor]:
        taken.append("again")
        return made

    kept.once("one", again)
    assert taken == []
    flipped = (
        whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :]
        for place in range(len(whole))
        for bit in (0x01, 0x80)
    )
    other = path.with_name("two.safetensors").read_bytes()
    for content in (b"", whole[: len(whole) // 2], other, *flipped):
        path.write_bytes(content)
        found = kept.once("one", again)
        assert all(torch.equal(found[name], value) for name, value in made.items())
    kept.clear()
    assert not list(tmp_path.iterdir())


def test_steps_stay_where_it_was_interrupted_and_go_where_it_failed(tmp_path: Path) -> None:
    def export(error: BaseException) -> None:
        with kept_beside(tmp_path / "a") as kept:
            kept.begin({})
            kept.once("one", lambda: {"x": torch.ones(1)})
            raise error

    failing = (ExportError("no"), ArtifactError("no"), CheckpointError("no"))
    for error, left in ((KeyboardInterrupt(), 1), *((one, 0) for one in failing)):
        with pytest.raises(type(error)):
            export(error)
        assert len(steps_beside(tmp_path / "a")) == left


@pytest.mark.usefixtures("little_text")
def test_an_interrupted_export_goes_on_to_the_same_bytes(
    tiny_model_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a"
    lines: list[str] = []

    def interrupt(step: str) -> None:
        if step.startswith("rounding matrix 4 "):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_artifact(tiny_model_dir, out, quantize="int4", bits=BITS, progress=interrupt)
    assert not out.exists()
    [steps] = steps_beside(out)
    kept = sorted(path.name for path in steps.iterdir())
    done = sum(name.endswith((".rounded.safetensors", ".levels.safetensors")) for name in kept)
    export_artifact(tiny_model_dir, out, quantize="int4", bits=BITS, progress=lines.append)
    assert f"going on from {len(kept)} steps of an export that was interrupted" in lines
    assert sum(line.startswith("pricing matrix") for line in lines) > 3
    whole = tmp_path / "b"
    export_artifact(tiny_model_dir, whole, quantize="int4", bits=BITS, progress=lines.append)
    assert programs(out) == programs(whole)
    budget = read_manifest(whole).quantization.budget
    assert budget
    assert 2 <= done < len(budget.choices)  # what was beside the fourth may be done
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}


@contextmanager
def limited(limit: int) -> Iterator[None]:
    """No file may become larger: a limit stands for a full disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


@contextmanager
def on_small_disk(folder: Path, limit: int) -> Iterator[Path]:
    """A file system of so many bytes, which grows when the block is over."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o"]
    try:
        subprocess.run([*mount, f"size={limit}", "tmpfs", folder], check=True, capture_output=True)
    except subprocess.CalledProcessError:
        pytest.skip("nothing may be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_where_there_is_no_room_the_steps_stay(tiny_model_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "a"
    lines: list[str] = []

    def export(out: Path) -> None:
        lines.clear()
        export_artifact(
            tiny_model_dir,
            out,
            quantize="int4",
            rounded_by=BY_PROMPTS,
            progress=lines.append,
        )

    # More than a step takes (14,424 bytes at most), and less than the program (39,168).
    with limited(30_000), pytest.raises(NoRoomError) as caught:
        export(out)
    [steps] = steps_beside(out)
    assert list(tmp_path.iterdir()) == [steps]
    kept = len(list(steps.iterdir()))
    assert kept > 3
    said = re.fullmatch(
        rf"{out}: cannot be written: File too large after [0-9,]+ bytes;"
        rf" it keeps {kept} steps? beside it, to go on from",
        str(caught.value),
    )
    assert said
    export(out)
    assert f"going on from {kept} steps of an export that was interrupted" in lines
    assert not steps_beside(out)
    export(tmp_path / "b")
    for name in PROGRAM[:2]:
        assert (out / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_on_a_full_disk_the_steps_stay(tiny_model_dir: Path, tmp_path: Path) -> None:
    lines: list[str] = []

    def export() -> None:
        lines.clear()
        export_artifact(
            tiny_model_dir,
            out,
            quantize="int4",
            rounded_by=BY_PROMPTS,
            progress=lines.append,
        )

    with on_small_disk(tmp_path / "disk", 128 << 10) as disk:
        out = disk / "a"
        with pytest.raises(
            NoRoomError, match=r"No space left on device after .*; it keeps \d+ step"
        ):
            export()
        [steps] = disk.iterdir()
        assert steps in steps_beside(out)
        subprocess.run(["mount", "-o", "remount,size=4m", disk], check=True)
        export()
        assert any(line.startswith("going on from") for line in lines)
        assert list(disk.iterdir()) == [out]


@pytest.mark.usefixtures("little_text")
def test_the_same_weights_in_another_model_begin_anew(tiny_model_dir: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))
    lines: list[str] = []

    def interrupt(step: str) -> None:
        lines.append(step)
        if step.startswith("rounding matrix 2 "):
            raise KeyboardInterrupt

    def export() -> bool:
        lines.clear()
        with pytest.raises(KeyboardInterrupt):
            export_artifact(model, tmp_path / "a", quantize="int4", progress=interrupt)
        return any(line.startswith("going on from") for line in lines)

    assert not export()
    assert export()
    config = json.loads((model / "config.json").read_text())
    config["rms_norm_eps"] *= 10
    (model / "config.json").write_text(json.dumps(config))
    assert not export()


@pytest.mark.usefixtures("little_text")
def test_nothing_is_in_its_place_before_all_of_it_was_measured(
    tiny_model_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a"
    lines: list[str] = []

    def interrupted(folder: Path, manifest: Manifest) -> Manifest:
        assert read_manifest(folder) == manifest
        raise KeyboardInterrupt

    def say(folder: Path, manifest: Manifest) -> Manifest:
        return manifest

    def export(measured: Callable[[Path, Manifest], Manifest]) -> None:
        export_artifact(
            tiny_model_dir, out, quantize="int4", measured=measured, progress=lines.append
        )

    with pytest.raises(KeyboardInterrupt):
        export(interrupted)
    assert list(tmp_path.iterdir()) == steps_beside(out) != []
    assert not any(line.startswith("going on from") for line in lines)
    export(say)
    assert any(line.startswith("going on from") for line in lines)
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_is_ended_leaves_nothing_half_written(
    tiny_model_dir: Path, tmp_path: Path, number: signal.Signals
) -> None:
    out, whole = tmp_path / "a", tmp_path / "b"

    def command(out: Path) -> list[str]:
        export = ["export", str(tiny_model_dir), str(out), "--bits", str(BITS)]
        return [sys.executable, "-m", "escalade.cli", *export, "--held-out", "none"]

    last = ""
    with subprocess.Popen(command(out), stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        for line in running.stderr:
            last = line
            if line.startswith("rounding matrix 5 "):
                os.kill(running.pid, number)
    [steps] = steps_beside(out)
    left = [path for path in tmp_path.iterdir() if path.suffix == ".tmp"]
    if number == signal.SIGTERM:
        assert (running.returncode, last, left) == (128 + number, "ended by SIGTERM\n", [])
    else:
        assert (running.returncode, len(left)) == (-number, 1)
    assert not out.exists()
    assert len(list(steps.glob("*.rounded.safetensors"))) >= 4
    for folder in (out, whole):
        done = subprocess.run(command(folder), capture_output=True, text=True, check=True)
        assert ("going on from" in done.stderr) == (folder == out)
    assert programs(out) == programs(whole)
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}


@pytest.mark.slow
def test_what_is_ended_while_it_measures_goes_on_and_says_what_was_lost(
    tiny_model_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a"
    export = ["export", str(tiny_model_dir), str(out), "--bits", str(BITS)]
    command = [sys.executable, "-m", "escalade.cli", *export]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if line.startswith("measuring what was lost"):
                running.send_signal(signal.SIGINT)
    assert running.returncode == 128 + signal.SIGINT
    assert [path for path in tmp_path.iterdir() if path.suffix != ".steps"] == []
    [steps] = steps_beside(out)
    assert list(steps.glob("*.rounded.safetensors"))
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "going on from" in done.stderr
    budget = read_manifest(out).quantization.budget
    assert budget is not None
    assert budget.lost is not None
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.slow
def test_two_at_once_do_not_take_away_what_is_the_others(
    tiny_model_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a"
    command = [sys.executable, "-m", "escalade.cli", "export", str(tiny_model_dir), str(out)]
    command += ["--held-out", "none", "--bits"]
    pipe = subprocess.PIPE
    running = [
        subprocess.Popen([*command, str(bits)], stderr=pipe, text=True)
        for bits in (BITS, BITS, BITS + 1)
    ]
    assert [(one.communicate()[1], one.returncode)[1] for one in running] == [0, 0, 0]
    assert {path.name for path in tmp_path.iterdir()} == {"a"}
