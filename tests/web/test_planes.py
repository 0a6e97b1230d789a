"""Integers of 3, 5 and 6 bits in a browser: planes are fetched, joined, and answer as in Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from web_site import ready, serving

from escalade.edge import Artifact
from escalade.edge.base import read_records, subsample

pytestmark = pytest.mark.web

CHECKPOINT = Path(__file__).resolve().parents[2] / "training/checkpoints/small-cat-xent"
#: Few enough that no width is left out.
BITS, QUERIES = 4.5, 200
_OPEN = "openDevice({artifact: 'artifact/', runtime: 'ort/', threads: 2})"
_ASK = """async prompts => {
  const rows = [];
  for (const prompt of prompts) {
    const { answer } = await device.ask(prompt);
    rows.push([answer.device.tokens.map(one => one.id), answer.device.score, answer.text]);
  }
  return rows;
}"""


@pytest.fixture(scope="module")
def planed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled small model on a budget of bits; any kernel gives the same. Left as it is."""
    from escalade.export.artifact import export_artifact

    out = tmp_path_factory.mktemp("planed") / "artifact"
    manifest = export_artifact(CHECKPOINT, out, quantize="int4", bits=BITS, activation_bits=32)
    budget = manifest.quantization.budget
    assert budget
    assert {entry.bits for entry in budget.planes or ()} == {3, 5, 6}
    return out


def test_planes_are_joined_and_answer_as_in_python(
    opened: Any, bundled: Path, planed: Path
) -> None:
    records = read_records(bundled.parent / "data" / "valid.jsonl")
    prompts = [record.prompt for record in subsample(records, QUERIES)]
    artifact = Artifact.open(planed)
    with serving(planed) as site, opened(f"{site.url}/harness/") as page:
        assert page.evaluate(_OPEN)["provider"] == "wasm"
        rows = page.evaluate(_ASK, prompts)
        assert [one for one in site.asked if "/model.onnx." in one] == [
            "/harness/artifact/model.onnx.data",
            "/harness/artifact/model.onnx.planes",
        ]
    for prompt, (tokens, score, text) in zip(prompts, rows, strict=True):
        steps = artifact.generate(artifact.encode(prompt))
        assert tokens == [step.token_id for step in steps], prompt
        assert score == pytest.approx(artifact.rule([step.logprob for step in steps]), abs=1e-3)
        assert text == artifact.text_of(steps)


def test_planes_are_kept_for_the_next_visit(opened: Any, planed: Path) -> None:
    with serving(planed) as site, opened(site.url) as page:
        assert "parameters" in ready(page)
        page.reload()
        assert "kept from the last visit" in ready(page)
        assert site.asked.count("/artifact/model.onnx.planes") == 1
