"""The device in a browser gives what the device in Python gives: tokens, scores, texts."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from web_site import Site

from escalade.edge import Artifact
from escalade.edge.base import read_records, subsample

pytestmark = pytest.mark.web

QUERIES, TEXTS = 1000, 10_000
_OPEN = "openDevice({artifact: 'artifact/', runtime: 'ort/', threads: 2})"
_ASK = """async prompts => {
  const rows = [];
  for (const prompt of prompts) {
    const { answer } = await device.ask(prompt);
    rows.push([answer.device.tokens.map(one => one.id), answer.device.score, answer.text]);
  }
  return rows;
}"""


def test_a_thousand_queries_have_the_same_tokens_and_scores(
    opened: Any, site: Site, bundled: Path
) -> None:
    records = read_records(bundled.parent / "data" / "valid.jsonl")
    prompts = [record.prompt for record in subsample(records, QUERIES)]
    assert len(prompts) == QUERIES
    artifact = Artifact.open(bundled)
    with opened(f"{site.url}/harness/") as page:
        assert page.evaluate(_OPEN)["threads"] == 2
        rows = page.evaluate(_ASK, prompts)
    for prompt, (tokens, score, text) in zip(prompts, rows, strict=True):
        steps = artifact.generate(artifact.encode(prompt))
        assert tokens == [step.token_id for step in steps], prompt
        assert score == pytest.approx(artifact.rule([step.logprob for step in steps]), abs=1e-3)
        assert text == artifact.text_of(steps)


def test_ten_thousand_texts_have_the_same_ids(opened: Any, site: Site, bundled: Path) -> None:
    artifact = Artifact.open(bundled)
    rng = random.Random(15)
    letters = [*"abcdefghijklmnopqrstuvwxyz'- .:?ABCéß字🙂\t\n\u0301", "<eos>", "<pad>", "g2p: "]
    texts = ["".join(rng.choices(letters, k=rng.randint(1, 40))) for _ in range(TEXTS)]
    texts = [one for one in texts if one.strip()]
    with opened(f"{site.url}/harness/") as page:
        page.evaluate(_OPEN)
        rows = page.evaluate("texts => device.encode(texts)", texts)
    for text, row in zip(texts, rows, strict=True):
        ids = artifact.encode(text)
        assert row["ids"] == ids, repr(text)
        assert row["text"] == artifact.decode(ids), repr(text)
