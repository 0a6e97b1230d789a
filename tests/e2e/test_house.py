"""What holds the house up: one namespace, fresh stubs, and who may import whom."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

REPO = Path(__file__).resolve().parents[2]
ROOTS = ("cli", "edge", "cloud", "protos", "export", "training", "simulator")
BIN = Path(sys.executable).parent


def test_no_root_shuts_the_others_out_of_the_namespace() -> None:
    for root in ROOTS:
        assert (REPO / root / "escalade").is_dir()
        assert not (REPO / root / "escalade" / "__init__.py").exists(), root


def test_every_root_is_built_typed_and_linted() -> None:
    settings = tomllib.loads((REPO / "pyproject.toml").read_text())
    tools = settings["tool"]
    assert set(tools["hatch"]["build"]["dev-mode-dirs"]) == set(ROOTS)
    wheel = tools["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert set(wheel) == {f"{root}/escalade" for root in ROOTS} | {"cli/optimum"}
    assert set(tools["mypy"]["mypy_path"].split(":")) == set(ROOTS)
    assert set(tools["ruff"]["src"]) == set(ROOTS)


def test_pre_commit_runs_the_parts_of_check() -> None:
    hooks = yaml.safe_load((REPO / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    makefile = (REPO / "Makefile").read_text()
    parts = re.search(r"^check: .*\n.*-k (.+)$", makefile, re.M)
    assert parts is not None
    assert [hook["id"] for hook in hooks] == parts[1].split()
    for hook in hooks:
        assert hook["entry"] == f"make --no-print-directory {hook['id']}"
        assert re.search(rf"^{hook['id']}: ", makefile, re.M)


def test_the_stubs_are_those_of_the_contract(tmp_path: Path) -> None:
    subprocess.run(
        [
            sys.executable, "-m", "grpc_tools.protoc", f"-I{REPO / 'protos'}",
            f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", f"--grpc_python_out={tmp_path}",
            f"--plugin=protoc-gen-mypy_grpc={BIN / 'protoc-gen-mypy_grpc'}",
            f"--mypy_grpc_out={tmp_path}", "escalade/v1/cascade.proto",
        ],
        check=True,
    )  # fmt: skip
    fresh = {path.name: path.read_text() for path in (tmp_path / "escalade/v1").iterdir()}
    kept = {path.name: path.read_text() for path in (REPO / "protos/escalade/v1").glob("*_pb2*")}
    assert fresh.keys() == kept.keys()
    for name, text in fresh.items():
        assert kept[name] == text, f"{name} is stale: run `make protos`"


def test_the_device_loads_neither_torch_nor_grpc() -> None:
    program = (
        "import sys, escalade.edge\n"
        "print(getattr(escalade.edge, 'EdgeClient', None) is not None)\n"
        "heavy = ('torch', 'transformers', 'executorch', 'grpc')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[:2] == ["True", "[]"]


@pytest.mark.parametrize(
    ("planted", "contract"),
    [
        ("import escalade.cloud", "edge knows the wire and nothing else of ours"),
        ("import torch", "edge never imports torch or transformers"),
    ],
)
def test_import_linter_catches_a_planted_import(
    planted: str, contract: str, tmp_path: Path
) -> None:
    for root in ("edge", "cloud"):
        shutil.copytree(REPO / root / "escalade", tmp_path / root / "escalade")
    shutil.copy(REPO / "pyproject.toml", tmp_path)
    path = os.pathsep.join(str(tmp_path / root) for root in ("edge", "cloud"))

    def lint() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BIN / "lint-imports", "--no-cache", "--no-logo"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )

    before = lint()
    assert before.returncode == 0, before.stdout
    (tmp_path / "edge/escalade/edge/planted.py").write_text(f"{planted}\n")
    after = lint()
    assert after.returncode == 1
    broken = [line for line in after.stdout.splitlines() if " BROKEN" in line]
    assert any(line.startswith(contract) for line in broken), after.stdout
    assert "escalade.edge.planted ->" in after.stdout
