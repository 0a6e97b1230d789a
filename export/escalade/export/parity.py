"""Holds an exported program against torch on a few prompts; writes nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from escalade.edge.artifact import Artifact
from escalade.edge.manifest import GoldenEntry, ParityEntry
from escalade.edge.rules import mean_nll

# A golden answer is played at every opening; longer ones would be felt.
_GOLDEN_TOKENS = 48


def measure_parity(
    model: PreTrainedModel, artifact: Artifact, prompts: Sequence[str]
) -> tuple[list[GoldenEntry], ParityEntry]:
    """Let both answer every prompt greedily.

    Args:
        model: the torch model the artifact was made from.
        artifact: opened, its program runs here.
        prompts: at least one.

    Returns:
        What the program answers (the golden entries) and how that compares with torch:
        whether all tokens are the same, and |NLL of the program's answer as the program
        scores it - as torch scores the same tokens|.
    """
    golden, deltas, same = [], [], 0
    for prompt in prompts:
        prompt_ids = artifact.encode(prompt)
        longest = min(artifact.room_for(prompt_ids), _GOLDEN_TOKENS)
        steps = artifact.generate(prompt_ids, longest)
        token_ids = [step.token_id for step in steps]
        nll = mean_nll([step.logprob for step in steps])
        greedy_ids, torch_nll = _torch_on(model, prompt_ids, token_ids)
        same += token_ids == greedy_ids
        deltas.append(abs(nll - torch_nll))
        golden.append(
            GoldenEntry(prompt=prompt, prompt_ids=prompt_ids, token_ids=token_ids, nll=nll)
        )
    parity = ParityEntry(
        prompts=len(golden),
        same_tokens=same,
        mean_abs_delta_nll=sum(deltas) / len(deltas),
        max_abs_delta_nll=max(deltas),
    )
    return golden, parity


def _torch_on(
    model: PreTrainedModel, prompt_ids: list[int], token_ids: list[int]
) -> tuple[list[int], float]:
    """Torch's greedy choice before each token of a response, and its NLL of the response.

    By induction the choices are `token_ids` exactly when torch's own greedy response is.
    """
    ids = torch.tensor([[*prompt_ids, *token_ids]])
    with torch.inference_mode():
        logits = model(ids).logits[0, len(prompt_ids) - 1 : -1].double()
    logprobs = torch.log_softmax(logits, dim=-1)
    chosen = logprobs[torch.arange(len(token_ids)), torch.tensor(token_ids)]
    return logits.argmax(dim=-1).tolist(), -float(chosen.mean())
