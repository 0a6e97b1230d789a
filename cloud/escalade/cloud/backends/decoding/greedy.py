"""The greedy choices of a causal model, one after the other; knows no text, no end of sequence."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from escalade.cloud.backends.drafts import Choice, LetsStand, choice_at

# Log-probabilities nearer than this may change places when sums are made in another order: many
# tokens in one pass, or one in each. Float32 differs by 1e-6 to 1e-5 here.
_TIE = 1e-3


class Greedy:
    """A model that is asked one query at a time.

    Args:
        network: a causal language model in eval mode.
    """

    def __init__(self, network: PreTrainedModel) -> None:
        self._network = network
        # Without it, logits of the whole prompt are computed and all but the last dropped.
        self._keeps_last = "logits_to_keep" in inspect.signature(network.forward).parameters
        # A draft is read ahead and taken back; what windows and states have let go is gone.
        layers = DynamicCache(config=network.config).layers
        #: Whether a draft is looked at.
        self.takes_drafts = bool(layers) and all(type(layer) is DynamicLayer for layer in layers)

    def choices(
        self,
        prompt_ids: Sequence[int],
        draft_ids: Sequence[int] = (),
        lets_stand: LetsStand | None = None,
    ) -> Iterator[Choice]:
        """Choice after choice, without end; each is computed when it is asked for.

        A draft is read with the prompt, in one pass: as long as it is what the model chooses,
        there is nothing to compute. Where two tokens are nearly as likely, now or later, what was
        computed so is not trusted, and all is computed again as without a draft: so the tokens
        are the same.

        Args:
            prompt_ids: `(P,)`, at least one.
            draft_ids: `(D,)` how the response may begin; P + D fit the model's window.
            lets_stand: which of its tokens stand that the model would not choose; None: none.
        """
        draft = draft_ids if self.takes_drafts else ()
        cache, rows = self._pass(torch.tensor([[*prompt_ids, *draft]]), None, 1 + len(draft))
        said: list[int] = []
        # Of what is let stand, another pass would say something else anyway.
        trusted = not draft or lets_stand is not None
        tied = False
        for place, row in enumerate(rows):
            choice = _choice(row)
            if place < len(draft):
                drafted = draft[place]
                choice = choice_at(place, choice, drafted, _logprob(row, drafted), lets_stand)
            tied = not trusted and choice.margin < _TIE
            if tied:
                break
            yield choice
            said.append(choice.token)
            if place < len(draft) and choice.token != draft[place]:
                cache.crop(place - len(draft))
                break
        while True:
            if tied:
                cache, row = self._alone(prompt_ids, said)
                trusted = True
            else:
                cache, [row] = self._pass(torch.tensor([said[-1:]]), cache, 1)
            choice = _choice(row)
            tied = not trusted and choice.margin < _TIE
            if not tied:
                yield choice
                said.append(choice.token)

    def _alone(self, prompt_ids: Sequence[int], said: Sequence[int]) -> tuple[DynamicCache, Tensor]:
        """The cache and the `(V,)` logits after what was said, computed as without a draft."""
        cache, [row] = self._pass(torch.tensor([[*prompt_ids]]), None, 1)
        for token in said:
            cache, [row] = self._pass(torch.tensor([[token]]), cache, 1)
        return cache, row

    @torch.inference_mode()
    def _pass(
        self, ids: Tensor, cache: DynamicCache | None, rows: int
    ) -> tuple[DynamicCache, Tensor]:
        """The cache after `(1, N)` more tokens, and the logits of the last so many, `(rows, V)`."""
        output = self._network(
            input_ids=ids,
            past_key_values=cache,
            use_cache=True,
            **({"logits_to_keep": rows} if self._keeps_last else {}),
        )
        return output.past_key_values, output.logits[0, -rows:]


@torch.inference_mode()
def _choice(logits: Tensor) -> Choice:
    """The best of `(V,)` logits."""
    scores = logits.log_softmax(dim=-1)
    first, second = scores.topk(2).values.tolist()
    return Choice(int(scores.argmax()), first, first - second)


@torch.inference_mode()
def _logprob(logits: Tensor, token: int) -> float:
    """Natural logarithm of a token's probability by `(V,)` logits."""
    return float(logits.log_softmax(dim=-1)[token])
