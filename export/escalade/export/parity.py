"""Holds an exported program against torch on a few prompts; writes nothing.

The program answers first and torch looks at its answers after, so that the two need not be in
memory together.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from escalade.edge.artifact import GoldenEntry, ParityEntry
from escalade.edge.deferral import mean_nll
from escalade.edge.generation import Artifact

# Logits nearer than this are one: sums of float32 in another order differ by as much.
_TIE = 1e-4
# A golden answer is played at every opening; longer ones would be felt.
_GOLDEN_TOKENS = 48


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


def measure_parity(
    model: PreTrainedModel, golden: Sequence[GoldenEntry], decoder_start_id: int | None
) -> ParityEntry:
    """Hold a program's answers against torch.

    Args:
        model: the torch model the artifact was made from.
        golden: what the program answered, at least one.
        decoder_start_id: what the decoder of an encoder-decoder begins with.

    Returns:
        Whether all tokens are torch's, and |NLL of the program's answer as the program scores
        it - as torch scores the same tokens|.
    """
    deltas, same = [], 0
    for entry in golden:
        greedy_ids, torch_nll = torch_on(model, entry.prompt_ids, entry.token_ids, decoder_start_id)
        same += entry.token_ids == greedy_ids
        deltas.append(abs(entry.nll - torch_nll))
    return ParityEntry(
        prompts=len(golden),
        same_tokens=same,
        mean_abs_delta_nll=sum(deltas) / len(deltas),
        max_abs_delta_nll=max(deltas),
    )


def torch_on(
    model: PreTrainedModel,
    prompt_ids: list[int],
    token_ids: list[int],
    decoder_start_id: int | None,
) -> tuple[list[int], float]:
    """Torch's greedy choice before each token of a response, and its NLL of the response.

    By induction the choices are `token_ids` exactly when torch's own greedy response is; of
    tied tokens torch's choice is the one that was given.
    """
    with torch.inference_mode():
        if decoder_start_id is None:
            ids = torch.tensor([[*prompt_ids, *token_ids]])
            logits = model(ids).logits[0, len(prompt_ids) - 1 : -1]
        else:
            before = torch.tensor([[decoder_start_id, *token_ids[:-1]]])
            logits = model(torch.tensor([prompt_ids]), decoder_input_ids=before).logits[0]
    logits = logits.double()
    logprobs = torch.log_softmax(logits, dim=-1)
    chosen = logprobs[torch.arange(len(token_ids)), torch.tensor(token_ids)]
    best = logits.argmax(dim=-1)
    given = torch.tensor(token_ids)
    tied = logits.gather(-1, best[:, None]) - logits.gather(-1, given[:, None]) <= _TIE
    return torch.where(tied[:, 0], given, best).tolist(), -float(chosen.mean())
