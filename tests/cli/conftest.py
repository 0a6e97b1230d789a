"""Runs the command line in the test's own process; artifacts for cascades, and clouds."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from scripted import ScriptedCloud, scripted

from escalade.cli.main import run
from escalade.edge.artifact import file_entry, read_manifest, write_manifest
from escalade.v1.identity import tokenizer_fingerprint

Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Invoke:
    """Run `escalade ARGUMENTS` in this process; gives (exit code, stdout, stderr)."""

    def invoke(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["escalade", *map(str, arguments)])
        # By it a program is called `python -m pytest`, where that runs this.
        monkeypatch.setattr(sys.modules["__main__"], "__package__", None)
        code = 0
        try:
            run()
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return invoke


@pytest.fixture
def refusal_of(invoke: Invoke) -> Callable[[Path], str]:
    """The one line in which `escalade ask` refuses a cascade's file."""

    def refusal_of(path: Path) -> str:
        code, out, err = invoke("ask", path, "g2p: cascade")
        assert (code, out) == (2, "")
        (line,) = err.splitlines()
        assert line.startswith("error: ")
        return line

    return refusal_of


@pytest.fixture
def check_refused(
    refusal_of: Callable[[Path], str], shelf: Path, tmp_path: Path
) -> Callable[[str, list[str]], None]:
    """Check that a cascade's file beside the shelf's artifacts is refused in these words."""

    def check_refused(content: str, says: list[str]) -> None:
        for artifact in shelf.iterdir():
            (tmp_path / artifact.name).symlink_to(artifact)
        before = sorted(tmp_path.iterdir())
        path = tmp_path / "cascade.toml"
        path.write_text(content)
        line = refusal_of(path)
        for part in says:
            assert part in line
        assert len(line) < 600
        assert str(tmp_path) in line or str(shelf) in line  # what it is about
        assert sorted(tmp_path.iterdir()) == [path, *before]

    return check_refused


@pytest.fixture(scope="session")
def shelf(int8_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with artifacts: three that may vote, and others that go together with none."""
    folder = tmp_path_factory.mktemp("shelf")
    manifest = read_manifest(int8_artifact)
    replace = msgspec.structs.replace
    small = Path(shutil.copytree(int8_artifact, folder / "small"))
    deferral = replace(manifest.deferral, threshold=0.5)
    write_manifest(small, replace(manifest, deferral=deferral))
    for name in ("twin", "third"):  # of other weights, as far as their manifests say
        model = replace(manifest.model, revision=name)
        write_manifest(Path(shutil.copytree(small, folder / name)), replace(manifest, model=model))
    short = Path(shutil.copytree(small, folder / "short"))
    write_manifest(short, replace(manifest, model=replace(manifest.model, max_new_tokens=5)))
    other = Path(shutil.copytree(small, folder / "other"))
    path = other / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"]["<new>"] = max(content["model"]["vocab"].values()) + 1
    path.write_text(json.dumps(content))
    model = replace(manifest.model, tokenizer_fingerprint=tokenizer_fingerprint(path), name="other")
    files = {**manifest.files, path.name: file_entry(path)}
    write_manifest(other, replace(manifest, files=files, model=model))
    return folder


@pytest.fixture
def scripted_cloud() -> Iterator[ScriptedCloud]:
    with scripted() as cloud:
        yield cloud


@pytest.fixture
def silent_cloud() -> str:
    """An address that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"
