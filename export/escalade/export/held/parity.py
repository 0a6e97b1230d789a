"""Holds an exported program against torch on a few prompts; writes nothing.

The program answers first and torch looks at its answers after, so that the two need not be in
memory together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, PreTrainedModel

from escalade.checkpoint import GREEDY, read_generation
from escalade.edge.artifact import GoldenEntry, ParityEntry, Scheme
from escalade.edge.base import counted
from escalade.edge.deferral import mean_nll
from escalade.edge.generation import Artifact
from escalade.export.errors import ExportParityError

# Logits nearer than this are one: sums of float32 in another order differ by as much.
_TIE = 1e-4
# A golden answer is played at every opening; longer ones would be felt.
_GOLDEN_TOKENS = 48
# Of a mean over tokens; float32 programs of models of 2 to 30 layers came within 1e-4.
_FLOAT_NLL = 1e-3


def answer_golden(artifact: Artifact, prompts: Sequence[str]) -> list[GoldenEntry]:
    """What the program answers greedily to each prompt.

    Args:
        artifact: opened, its program runs here.
        prompts: at least one.
    """
    golden = []
    for prompt in prompts:
        prompt_ids = artifact.encode(prompt)
        longest = min(artifact.room_for(prompt_ids), _GOLDEN_TOKENS)
        steps = artifact.generate(prompt_ids, longest)
        golden.append(
            GoldenEntry(
                prompt=prompt,
                prompt_ids=prompt_ids,
                token_ids=[step.token_id for step in steps],
                nll=mean_nll([step.logprob for step in steps]),
            )
        )
    return golden


def measure_parity(model: PreTrainedModel, golden: Sequence[GoldenEntry]) -> ParityEntry:
    """Hold a program's answers against transformers' own `generate`.

    Args:
        model: the torch model the artifact was made from, with the settings of its folder.
        golden: what the program answered, at least one.

    Returns:
        Whether all tokens are those of `generate`, and |NLL of the program's answer as the program
        scores it - as `generate` scores the same tokens|.
    """
    ends = read_generation(model).end_ids
    deltas, same = [], 0
    for entry in golden:
        own_ids, torch_nll = torch_on(model, entry.prompt_ids, entry.token_ids, ends)
        same += entry.token_ids == own_ids
        deltas.append(abs(entry.nll - torch_nll))
    return ParityEntry(
        prompts=len(golden),
        same_tokens=same,
        mean_abs_delta_nll=sum(deltas) / len(deltas),
        max_abs_delta_nll=max(deltas),
    )


def check_parity(parity: ParityEntry, golden: Sequence[GoldenEntry], scheme: Scheme) -> None:
    """Refuse a program that is not the model it was made from.

    Raises:
        ExportParityError: a score is no number, whatever the scheme; or an unquantized program
            gives other tokens than torch, or the same ones another NLL.
    """
    for entry in golden:
        if not math.isfinite(entry.nll):
            raise ExportParityError(
                f"the program's NLL on the golden prompt {entry.prompt!r} must be finite, got"
                f" {entry.nll}; --quantize {scheme} does not hold this model"
            )
    if not math.isfinite(parity.max_abs_delta_nll):
        raise ExportParityError("torch's NLL of the golden answers must be finite")
    if scheme != "none":
        return
    if parity.same_tokens != parity.prompts:
        raise ExportParityError(
            f"{parity.same_tokens} of {counted(parity.prompts, 'golden prompt')} gave torch's"
            " tokens; an unquantized program must give all of them"
        )
    if parity.max_abs_delta_nll > _FLOAT_NLL:
        raise ExportParityError(
            f"an unquantized program's NLL must be torch's within {_FLOAT_NLL}, is"
            f" {parity.max_abs_delta_nll:.2g} off"
        )


def torch_on(
    model: PreTrainedModel, prompt_ids: list[int], token_ids: list[int], ends: Collection[int]
) -> tuple[list[int], float]:
    """What `generate` would choose before each token of a response, and its NLL of the response.

    `generate` runs with all that the folder says and is led along the response: by induction its
    choices are `token_ids` exactly when its own greedy response is. Of tied tokens its choice is
    the one that was given. Where it would end and the response goes on, its choices are fewer;
    where the response ends and it would not, they are more.

    Args:
        model: a causal LM or an encoder-decoder.
        prompt_ids: `(P,)`.
        token_ids: `(N,)`, the response.
        ends: where the response's author ends; the last token is one, or the response was cut.
    """
    led = _Led(token_ids)
    answer: Callable[..., Tensor] = model.generate  # type: ignore[assignment]
    ids = torch.tensor([prompt_ids])
    with torch.inference_mode():
        answer(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=len(token_ids) + (token_ids[-1] in ends),
            logits_processor=LogitsProcessorList([led]),
            **GREEDY,
        )
    return led.choices, -sum(led.logprobs) / len(led.logprobs)


class _Led(LogitsProcessor):
    """Leads `generate` along a response, after all that its settings do to the scores."""

    def __init__(self, token_ids: list[int]) -> None:
        self._given = token_ids
        self.choices: list[int] = []
        self.logprobs: list[float] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        values = scores[0].double()
        best = int(values.argmax())
        if len(self.choices) == len(self._given):
            self.choices.append(best)
            return scores
        given = self._given[len(self.choices)]
        tied = float(values[best] - values[given]) <= _TIE
        self.choices.append(given if tied else best)
        self.logprobs.append(float(values[given] - values.logsumexp(-1)))
        led = torch.full_like(scores, -torch.inf)
        led[0, given] = 0
        return led
