"""Whose kernels a session is given, by what the manifest says and the processor is."""

from __future__ import annotations

import platform
from pathlib import Path

import msgspec
import onnxruntime as ort
import pytest

from escalade.edge.artifact.manifest import Manifest, read_manifest, write_manifest
from escalade.edge.errors import ArtifactError
from escalade.edge.generation import open_with_kernels
from escalade.edge.runtimes.onnx.kernels import choose_kernels

PROGRAM = Path("model.onnx")


@pytest.fixture
def manifest(int8_artifact: Path) -> Manifest:
    return read_manifest(int8_artifact)


def of_arm(manifest: Manifest) -> Manifest:
    deferral = msgspec.structs.replace(manifest.deferral, kernels="kleidiai")
    return msgspec.structs.replace(manifest, deferral=deferral)


def is_off(manifest: Manifest) -> str:
    options = ort.SessionOptions()
    choose_kernels(options, PROGRAM, manifest)
    found: str = options.get_session_config_entry("mlas.disable_kleidiai")
    return found


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "arm64"])
def test_they_are_off_unless_the_manifest_asks(
    manifest: Manifest, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert is_off(manifest) == "1"


@pytest.mark.parametrize("machine", ["aarch64", "arm64"])
def test_arm_has_them(manifest: Manifest, machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert is_off(of_arm(manifest)) == "0"


@pytest.mark.parametrize("machine", ["x86_64", "AMD64", "armv7l", ""])
def test_no_other_processor_has(
    manifest: Manifest, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    with pytest.raises(ArtifactError, match=f"model.onnx: .*this is one of {machine};"):
        is_off(of_arm(manifest))


def test_only_onnx_has_any(manifest: Manifest, tmp_path: Path) -> None:
    other = msgspec.structs.replace(of_arm(manifest), format="executorch")
    write_manifest(tmp_path, other)
    with pytest.raises(ArtifactError, match="kernels is of format onnx, got executorch"):
        read_manifest(tmp_path)
    write_manifest(tmp_path, msgspec.structs.replace(manifest, format="executorch"))
    with pytest.raises(ArtifactError, match="'kleidiai' are of format onnx, got executorch"):
        open_with_kernels(tmp_path, "kleidiai")
