"""An ONNX export takes what the extra `export` brings, and nothing of other extras."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from escalade.edge.errors import ArtifactError
from escalade.export.artifact import export_artifact

#: What other extras bring that any part of ours imports.
OTHERS = (
    *("executorch", "torchao", "gguf", "llama_cpp", "optimum", "sklearn", "scipy", "numba"),
    *("accelerate", "peft", "matplotlib", "pyarrow", "starlette", "uvicorn"),
)
PROGRAM = """
import sys
from pathlib import Path

for name in sys.argv[3:]:
    sys.modules[name] = None  # as where it is not installed
from escalade.export.artifact import export_artifact
from escalade.export.text import NEAREST

export_artifact(
    Path(sys.argv[1]), Path(sys.argv[2]), quantize="int4", rounded_by=NEAREST,
    golden_prompts=["g2p: a"], max_new_tokens=2,
)
"""


def test_an_onnx_export_needs_no_other_extra(tiny_model_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tiny_model_dir, out, *OTHERS],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (out / "manifest.json").is_file()


def test_without_llamacpp_a_gguf_export_loads_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "escalade.edge.runtimes.llamacpp.library", raising=False)
    monkeypatch.setitem(sys.modules, "llama_cpp", None)  # as where it is not installed
    with pytest.raises(ArtifactError, match=r"^GGUF programs .* 'escalade\[gguf\]'"):
        export_artifact(tmp_path / "no model", tmp_path / "out", format="gguf")
