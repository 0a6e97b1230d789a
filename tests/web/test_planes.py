"""Integers of 3, 5 and 6 bits in a browser: planes are fetched, joined, and answer as in Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from web_answers import OPEN, check_answers_as_in_python
from web_site import ready, serving

from escalade.edge import Artifact
from escalade.edge.base import read_records, subsample

pytestmark = pytest.mark.web

CHECKPOINT = Path(__file__).resolve().parents[2] / "training/checkpoints/small-cat-xent"
#: Few enough that no width is left out.
BITS, QUERIES = 4.4, 200


@pytest.fixture(scope="module")
def planed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled small model on a budget of bits; any kernel gives the same. Left as it is."""
    from escalade.export.artifact.artifact import export_artifact
    from escalade.export.text import OWN_TEXT

    out = tmp_path_factory.mktemp("planed") / "artifact"
    manifest = export_artifact(
        CHECKPOINT, out, quantize="int4", bits=BITS, activation_bits=32, rounded_by=OWN_TEXT
    )
    budget = manifest.quantization.budget
    assert budget
    assert {entry.bits for entry in budget.planes or ()} == {3, 5, 6}
    return out


def test_planes_are_joined_and_answer_as_in_python(
    opened: Any, bundled: Path, planed: Path
) -> None:
    records = read_records(bundled.parent / "data" / "valid.jsonl")
    prompts = [record.prompt for record in subsample(records, QUERIES)]
    with serving(planed) as site, opened(f"{site.url}/harness/") as page:
        assert page.evaluate(OPEN)["provider"] == "wasm"
        check_answers_as_in_python(page, Artifact.open(planed), prompts)
        assert [one for one in site.asked if "/model.onnx." in one] == [
            "/harness/artifact/model.onnx.data",
            "/harness/artifact/model.onnx.planes",
        ]


def test_planes_are_kept_for_the_next_visit(opened: Any, planed: Path) -> None:
    with serving(planed) as site, opened(site.url) as page:
        assert "parameters" in ready(page)
        page.reload()
        assert "kept from the last visit" in ready(page)
        assert site.asked.count("/artifact/model.onnx.planes") == 1
