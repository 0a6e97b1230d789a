"""What a manifest may say and what may lie beside it; everything else is refused by name."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from escalade.edge.artifact.integrity import open_plain
from escalade.edge.artifact.manifest import (
    MAX_MANIFEST_BYTES,
    file_entry,
    parse_manifest,
    read_manifest,
)
from escalade.edge.errors import ArtifactError, ParityError
from escalade.edge.generation.artifact import Artifact

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def copy(float_artifact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(float_artifact, tmp_path / "artifact"))


def edit(folder: Path, change: Change) -> None:
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def accept(folder: Path, name: str) -> None:
    """Make the manifest say of a file what is there now, as a careless or hostile hand would."""
    entry = file_entry(folder / name)
    listed = {"sha256": entry.sha256, "bytes": entry.bytes}
    edit(folder, lambda manifest: manifest["files"].update({name: listed}))


def refused(folder: Path) -> str:
    with pytest.raises(ArtifactError) as caught:
        read_manifest(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1000
    return message


NAMES = [
    "../x",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "..",
    ".",
    "",
    ".hidden",
    "c:x",
    "a\x00b",
    "a\nb",
    "-rf",
    "x" * 129,
    "modèle.onnx",
    "con trol",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_name_that_is_no_plain_name(copy: Path, name: str) -> None:
    edit(copy, lambda m: m["files"].update({name: m["files"]["model.onnx"]}))
    assert "leaves the artifact's folder, or is not" in refused(copy)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: m["files"]["model.onnx"].update(bytes=-1), "size of model.onnx must be in 0-"),
        (lambda m: m["files"]["model.onnx"].update(bytes=2**63), "got 9223372036854775808"),
        (lambda m: m["files"]["model.onnx"].update(bytes=10**300), "size of model.onnx must be"),
        (lambda m: m["files"]["model.onnx"].update(bytes=10**4000), "size of model.onnx must be"),
        (lambda m: m["files"]["model.onnx"].update(bytes=1.5), "Expected `int`"),
        (lambda m: m["files"]["model.onnx"].update(sha256="0" * 63), "must be 64 hexadecimal"),
        (lambda m: m["files"]["model.onnx"].update(sha256="Z" * 64), "must be 64 hexadecimal"),
        (
            lambda m: m["files"].update({"MODEL.onnx": m["files"]["model.onnx"]}),
            "model.onnx and MODEL.onnx differ by case alone",
        ),
        (
            lambda m: m["files"].update({"manifest.json": m["files"]["model.onnx"]}),
            "files must not list manifest.json",
        ),
        (
            lambda m: m["files"].update({"model.sig": m["files"]["model.onnx"]}),
            "files must not list model.sig",
        ),
        (
            lambda m: m["files"].update({"Manifest.JSON": m["files"]["model.onnx"]}),
            "files must not list manifest.json",
        ),
        (lambda m: m.update(program="../model.onnx"), "files does not list ../model.onnx"),
        (lambda m: m.update(program="\x1b[2J"), r"files does not list \x1b[2J"),
        (lambda m: m.update(encoder="encoder.onnx"), "files does not list encoder.onnx"),
        (
            lambda m: m["model"].update(chat={"template": "chat.jinja"}),
            "files does not list chat.jinja",
        ),
        (lambda m: m["model"].update(window=2**62), "at most 16777216, got 4611686018427387904"),
        (lambda m: m["model"].update(layers=10**4000), "model.layers must be at least 1 and at"),
        (lambda m: m["model"].update(head_dim=0), "model.head_dim must be at least 1 and at"),
        (lambda m: m["model"].update(kv_bytes=0), "model.kv_bytes must be at least 1 and at"),
        (lambda m: m["model"].update(name="\x1b[2Jmodel"), "model.name must be printable"),
        (lambda m: m["golden"][0].update(token_ids=[]), "token ids must be there and in 0-"),
        (lambda m: m["golden"][0].update(prompt_ids=[1] * 48), "longer than the window, 48"),
        (lambda m: m.update(schema=10**4000), "this version reads"),
        (lambda m: m.update(schema=3), "schema 3; this version reads 2"),
        (lambda m: m.update(schema="2"), "Expected `int`, got `str`"),
        (
            lambda m: m.update(format="pickle"),
            "format must be one of executorch, gguf, linear, onnx, got 'pickle'",
        ),
        (lambda m: m["deferral"].update(rule="quantile:nan"), "deferral."),
    ],
)
def test_a_hostile_value_is_named_with_its_range(copy: Path, change: Change, says: str) -> None:
    edit(copy, change)
    assert says in refused(copy)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b'{"schema":2,"x":' + b"[" * 500_000, "recursion"),
        (b'{"schema":2,"files":' + b'{"a":' * 100_000, "manifest"),
        (b'{"schema":2,"golden":NaN}', "invalid character"),
        (b'{"schema":2,"golden":[-Infinity]}', "manifest"),
        (b'{"schema":2,"format":"\xed\xa0\x80"}', "manifest"),
        (b'{"schema":2,"format":"\\ud800"}', "manifest"),
        (b'\xef\xbb\xbf{"schema":2}', "malformed"),
        (b'{"schema":2}\x00', "trailing"),
        ('{"schema":2}'.encode("utf-16"), "manifest"),
    ],
)
def test_bytes_that_are_no_manifest(raw: bytes, says: str) -> None:
    with pytest.raises(ArtifactError, match=says):
        parse_manifest(raw, "manifest")


def test_a_number_too_large_for_a_float_is_no_number(float_artifact: Path) -> None:
    raw = (float_artifact / "manifest.json").read_bytes()
    nll = json.loads(raw)["golden"][0]["nll"]
    with pytest.raises(ArtifactError, match="out of range"):
        parse_manifest(raw.replace(str(nll).encode(), b"1e999", 1), "manifest")


def test_an_endless_manifest_is_not_read_to_its_end(copy: Path) -> None:
    with (copy / "manifest.json").open("r+b") as stream:
        stream.truncate(1 << 32)  # sparse: no byte of it is on the disk
    assert f"more than {MAX_MANIFEST_BYTES} bytes" in refused(copy)


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx", "tokenizer.json"])
def test_a_link_is_refused_wherever_it_leads(copy: Path, name: str) -> None:
    (copy / name).rename(copy.parent / name)
    (copy / name).symlink_to(copy.parent / name)
    assert f"{name}: missing, or not a regular file" in refused(copy)


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx"])
def test_a_pipe_is_refused_and_not_waited_for(copy: Path, name: str) -> None:
    (copy / name).unlink()
    os.mkfifo(copy / name)
    assert f"{name}: missing, or not a regular file" in refused(copy)


def test_a_file_that_is_not_listed_is_refused(copy: Path) -> None:
    (copy / "extra.so").write_bytes(b"x")
    assert "extra.so: the manifest does not list it" in refused(copy)
    (copy / "extra.so").unlink()
    (copy / "folder").mkdir()
    assert "folder: the manifest does not list it" in refused(copy)


def test_a_signature_and_a_file_being_written_aside_may_lie_there(copy: Path) -> None:
    (copy / "model.sig").write_text("{}")
    (copy / ".manifest.json.abc.tmp").write_text("{}")
    read_manifest(copy)


@pytest.mark.parametrize("content", [b"{" * 10, b'{"model":"\\ud800"}', b"\xff\xfe", b"[]"])
def test_a_tokenizer_file_that_is_none(copy: Path, content: bytes) -> None:
    (copy / "tokenizer.json").write_bytes(content)
    accept(copy, "tokenizer.json")
    assert "tokenizer.json: not a tokenizer.json: " in refused(copy)


def external_locations(folder: Path, location: str) -> None:
    """Point the graph's weights elsewhere, and let the manifest agree to the graph."""
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    found = 0
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
                found += 1
    assert found
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    accept(folder, "model.onnx")


@pytest.mark.parametrize("form", ["relative", "absolute", "nested", "memory"])
def test_a_graph_cannot_read_weights_from_outside_its_folder(copy: Path, form: str) -> None:
    outside = copy.parent / "outside.data"
    shutil.copyfile(copy / "model.onnx.data", outside)
    location = {
        "relative": "../outside.data",
        "absolute": str(outside),
        "nested": f"x/../../{outside.name}",
        "memory": "*/_ORT_MEM_ADDR_/*",  # onnxruntime's own mark for weights at an address
    }[form]
    external_locations(copy, location)
    read_manifest(copy)  # it is onnxruntime that refuses this, from 1.31 on at the latest
    with pytest.raises(ArtifactError, match=r"model\.onnx: onnxruntime cannot load it"):
        Artifact.open(copy)


def test_a_damaged_program_is_refused_without_another_word(
    copy: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What opens it would try again, and say so on stdout, where a JSON answer is due."""
    program = copy / "model.onnx"
    program.write_bytes(program.read_bytes().replace(b"MatMul", b"Mat\xff\xfful"[:6]))
    accept(copy, program.name)
    with pytest.raises(ArtifactError, match=r"model\.onnx: onnxruntime cannot load it"):
        Artifact.open(copy)
    assert capfd.readouterr() == ("", "")


def test_a_graph_cannot_read_weights_through_a_link(copy: Path) -> None:
    (copy / "model.onnx.data").rename(copy.parent / "outside.data")
    (copy / ".link").symlink_to(copy.parent / "outside.data")
    external_locations(copy, ".link")
    edit(copy, lambda m: m["files"].pop("model.onnx.data"))
    with pytest.raises(ArtifactError, match=r"model\.onnx: onnxruntime cannot load it"):
        Artifact.open(copy)


def test_weights_that_are_no_numbers_are_refused(copy: Path) -> None:
    path = copy / "model.onnx.data"
    path.write_bytes(np.full(path.stat().st_size // 4, np.nan, dtype=np.float32).tobytes())
    accept(copy, path.name)
    with pytest.raises(ParityError, match="golden prompt"):
        Artifact.open(copy)


def test_a_graph_without_its_outputs_is_refused(copy: Path) -> None:
    model = onnx.load(copy / "model.onnx", load_external_data=False)
    model.graph.ClearField("output")
    (copy / "model.onnx").write_bytes(model.SerializeToString())
    accept(copy, "model.onnx")
    with pytest.raises(ArtifactError, match=r"model\.onnx: "):
        Artifact.open(copy)


def test_what_takes_a_files_place_as_it_is_opened_is_refused(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    regular = (copy / "model.onnx").lstat()
    monkeypatch.setattr(Path, "lstat", lambda path: regular)
    outside = (copy / "model.onnx").rename(copy.parent / "outside")
    (copy / "model.onnx").symlink_to(outside)
    with pytest.raises(ArtifactError, match="not a regular file"):
        open_plain(copy / "model.onnx")
    (copy / "model.onnx").unlink()
    os.mkfifo(copy / "model.onnx")
    with pytest.raises(ArtifactError, match="not a regular file"):
        open_plain(copy / "model.onnx")
