"""What a program says of the options that it was exported with."""

from __future__ import annotations

from pathlib import Path

import pytest

from escalade.edge.artifact import Scheme
from escalade.export.artifact.artifact import export_artifact
from escalade.export.onnx import PROGRAM_NAME, stored_by
from escalade.export.text import NEAREST


@pytest.mark.parametrize(
    ("scheme", "head_bits", "activation_bits", "said"),
    [
        ("int4", None, None, (8, 8)),
        ("int4", 4, None, (4, 8)),
        ("int4", None, 32, (8, 32)),
        ("int4", 4, 32, (4, 32)),
        ("int8", None, None, (8, 8)),
        ("int8", None, 32, (8, 32)),
    ],
)
def test_a_program_says_what_it_was_stored_by(
    scheme: Scheme,
    head_bits: int | None,
    activation_bits: int | None,
    said: tuple[int, int],
    tiny_model_dir: Path,
    tmp_path: Path,
) -> None:
    export_artifact(
        tiny_model_dir, tmp_path / "out", quantize=scheme, head_bits=head_bits,
        activation_bits=activation_bits, rounded_by=NEAREST, golden_prompts=["g2p: a"],
        max_new_tokens=2,
    )  # fmt: skip
    assert stored_by(tmp_path / "out" / PROGRAM_NAME) == said
