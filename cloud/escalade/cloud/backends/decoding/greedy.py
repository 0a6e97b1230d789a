"""The choices of a model, one after the other; knows no text, no end of sequence."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from escalade.cloud.backends.drafts import MOST_AHEAD, Choice, LetsStand, Rest, choice_at

# Log-probabilities nearer than this may change places when sums are made in another order: many
# tokens in one pass, or one in each. Float32 differs by 1e-6 to 1e-5 here.
_TIE = 1e-3


#: Chooses by `(V,)` logits.
Choose = Callable[[Tensor], Choice]
_Cache = DynamicCache | EncoderDecoderCache


class Greedy:
    """A model that is asked one query at a time.

    Args:
        network: a causal language model or an encoder-decoder, in eval mode.
        decoder_start_id: what the answers of an encoder-decoder begin with.
    """

    def __init__(self, network: PreTrainedModel, decoder_start_id: int | None = None) -> None:
        self._network = network
        self._start_id = decoder_start_id
        self._takes = "input_ids" if decoder_start_id is None else "decoder_input_ids"
        #: Held during each pass, by whoever shares the network with others.
        self.turn: Callable[[], AbstractContextManager[None]] = nullcontext
        # Without it, logits of the whole prompt are computed and all but the last dropped.
        self._keeps_last = "logits_to_keep" in inspect.signature(network.forward).parameters
        # A draft is read ahead and taken back; what windows and states have let go is gone.
        config = network.config.get_text_config(decoder=True)
        layers = DynamicCache(config=config).layers
        #: Whether a draft is looked at. In 8 or 11 bits too many tokens are nearly as likely as
        #: another.
        self.takes_drafts = (
            network.dtype == torch.float32
            and bool(layers)
            and all(type(layer) is DynamicLayer for layer in layers)
        )

    def choices(
        self,
        prompt_ids: Sequence[int],
        draft_ids: Sequence[int] = (),
        choose: Choose | None = None,
        lets_stand: LetsStand | None = None,
    ) -> Iterator[Choice]:
        """Choice after choice, without end; each is computed when it is asked for.

        A draft is read with the prompt, in one pass: as long as it is what the model chooses,
        there is nothing to compute. Behind a choice of the model's own, what the draft then says
        comes next is read with it. Where two tokens are nearly as likely, now or later, what was
        computed so is not trusted, and all is computed again as without a draft: so the tokens
        are the same. In other types than float32 no draft is read.

        Args:
            prompt_ids: `(P,)`, at least one.
            draft_ids: `(D,)` how the response may begin; P + D fit the model's window.
            choose: None takes the likeliest token. With a draft it must do so too.
            lets_stand: which of its tokens stand that the model would not choose; None: none. What
                is read later it does not judge.
        """
        choose = choose or _choice
        draft = draft_ids if self.takes_drafts else ()
        # What every pass is given, and what the first one reads before the draft.
        given, begun = self._encoded(prompt_ids)
        cache, rows = self._pass((*begun, *draft), None, 1 + len(draft), given)
        said: list[int] = []
        # Of what is let stand, another pass would say something else anyway.
        trusted = not draft or lets_stand is not None
        rest: Rest | None = None
        while True:
            tied = False
            for place, row in enumerate(rows):
                choice = choose(row)
                if lets_stand is not None and place < len(draft):
                    drafted = draft[place]
                    choice = choice_at(place, choice, drafted, _logprob(row, drafted), lets_stand)
                tied = not trusted and choice.margin < _TIE
                if tied:
                    break
                yield choice
                said.append(choice.token)
                if rest is not None:
                    rest.take(choice.token)
                if place < len(draft) and choice.token != draft[place]:
                    cache.crop(place - len(draft))
                    break
            if tied:
                trusted, draft, rest = True, (), None
                cache, row = self._alone(begun, said, given)
                rows = row[None]
                continue
            if rest is None and len(said) <= len(draft):
                rest, lets_stand = Rest(draft, said), None
            draft = () if rest is None else rest.next(MOST_AHEAD)
            cache, rows = self._pass((said[-1], *draft), cache, 1 + len(draft), given)

    def _alone(
        self, begun: Sequence[int], said: Sequence[int], given: dict[str, object]
    ) -> tuple[_Cache, Tensor]:
        """The cache and the `(V,)` logits after what was said, computed as without a draft."""
        cache, [row] = self._pass(begun, None, 1, given)
        for token in said:
            cache, [row] = self._pass((token,), cache, 1, given)
        return cache, row

    @torch.inference_mode()
    def _encoded(self, prompt_ids: Sequence[int]) -> tuple[dict[str, object], Sequence[int]]:
        if self._start_id is None:
            return {}, prompt_ids
        ids = torch.tensor([prompt_ids], device=self._network.device)
        mask = torch.ones_like(ids)
        read = self._network.get_encoder()(input_ids=ids, attention_mask=mask)
        return {"encoder_outputs": read, "attention_mask": mask}, (self._start_id,)

    @torch.inference_mode()
    def _pass(
        self,
        ids: Sequence[int],
        cache: _Cache | None,
        rows: int,
        given: dict[str, object],
    ) -> tuple[_Cache, Tensor]:
        """The cache after `(N,)` more tokens, and the logits of the last so many, `(rows, V)`."""
        with self.turn():
            output = self._network(
                **{self._takes: torch.tensor([ids], device=self._network.device)},
                past_key_values=cache,
                use_cache=True,
                **given,
                **({"logits_to_keep": rows} if self._keeps_last else {}),
            )
        return output.past_key_values, output.logits[0, -rows:]


@torch.inference_mode()
def _choice(logits: Tensor) -> Choice:
    """The best of `(V,)` logits."""
    logits = logits.float()
    first, second = logits.log_softmax(dim=-1).topk(2).values.tolist()
    # By logit: log-probabilities round, and rounding makes ties.
    return Choice(int(logits.argmax()), first, first - second)


@torch.inference_mode()
def _logprob(logits: Tensor, token: int) -> float:
    """Natural logarithm of a token's probability by `(V,)` logits."""
    return float(logits.float().log_softmax(dim=-1)[token])
