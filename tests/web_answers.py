"""Asks the device on a page, and holds its answers to those of the device in Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from escalade.edge import Artifact

#: The library opens what lies beside the page.
OPEN = "openDevice({artifact: 'artifact/', runtime: 'ort/', threads: 2})"
_ASK = """async ([prompts, options]) => {
  const rows = [];
  for (const prompt of prompts) {
    const { answer } = await device.ask(prompt, options);
    rows.push([answer.device.tokens.map(one => one.id), answer.device.score, answer.text]);
  }
  return rows;
}"""


def check_answers_as_in_python(
    page: Any, artifact: Artifact, prompts: Sequence[str], max_new_tokens: int | None = None
) -> None:
    """Ask all: tokens and texts are the same, scores are near.

    Args:
        page: whose device is open.
        artifact: the same.
        prompts: texts.
        max_new_tokens: the artifact's own if None.
    """
    options = {} if max_new_tokens is None else {"maxNewTokens": max_new_tokens}
    rows = page.evaluate(_ASK, [list(prompts), options])
    for prompt, (tokens, score, text) in zip(prompts, rows, strict=True):
        steps = artifact.generate(artifact.encode(prompt), max_new_tokens)
        assert tokens == [step.token_id for step in steps], prompt
        assert score == pytest.approx(artifact.rule([step.logprob for step in steps]), abs=1e-3)
        assert text == artifact.text_of(steps)
