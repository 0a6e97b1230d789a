"""Lets a causal LM write the text that its weights are rounded by; knows no rounding.

Without anybody's text, a model's own is near to what it was trained on, and rounds as well
(self-calibration: Williams, Chrysostomou, Aletras, NAACL 2025, arXiv 2410.17170; LLM-QAT: Liu et
al., arXiv 2305.17888, which begins with tokens drawn from the vocabulary, as is done here for a
model that has no token of beginning). A model whose tokenizer closes what it is asked has learned
answers, and often nothing but them: prompts that it draws are as good as drawn by chance, and so
is what it says where none is closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import pad
from transformers import DynamicCache, PreTrainedModel

from escalade.export.errors import ModelError

#: Rows of text, each as long as the window, or this many tokens.
ROWS, TOKENS = 16, 256
# Of a prompt that is answered, at most this share of the window and so many tokens; of the answer.
_PROMPT_SHARE, _PROMPT, _ANSWER = 4, 64, 64

_ANSWERED = 128  # prompts answered at a time
_STRETCH = 256  # of the vocabulary: about the square root of a large one


class Asked(NamedTuple):
    """What a tokenizer puts around a prompt, and what no prompt has in it; token ids."""

    opening: Sequence[int]
    closing: Sequence[int]
    never: Sequence[int]


class Answered(NamedTuple):
    """A text that ends in an answer."""

    #: `(T,)`, token ids.
    ids: Tensor
    #: Where the answer begins.
    first: int


def asked_by(tokenizer: Tokenizer) -> Asked | None:
    """How a tokenizer has a prompt be read; None where it closes none, as those of chats do."""
    prompt = tokenizer.encode("a")  # any will do: what is around it is the same
    own = [place for place, special in enumerate(prompt.special_tokens_mask) if not special]
    if not own or not prompt.ids[own[-1] + 1 :]:
        return None
    added = tokenizer.get_added_tokens_decoder()
    return Asked(
        opening=prompt.ids[: own[0]],
        closing=prompt.ids[own[-1] + 1 :],
        never=[number for number, token in added.items() if token.special],
    )


def draw_tokens(probabilities: Tensor, draw: torch.Generator) -> Tensor:
    """One token of each row, as likely as that says: `(N, 1)` of `(N, V)`.

    By one random number a row, where `torch.multinomial` takes one for each token of the
    vocabulary; it is looked for among stretches, and then in one. Running sums of all of 49,152
    tokens took a tenth of what the model itself does.
    """
    missing = -probabilities.shape[-1] % _STRETCH
    padded = pad(probabilities, (0, missing)) if missing else probabilities
    stretches = padded.unflatten(-1, (-1, _STRETCH))
    ends = stretches.sum(-1, dtype=torch.float64).cumsum(-1)
    at = torch.rand(len(ends), 1, generator=draw, dtype=torch.float64) * ends[:, -1:]
    stretch = _passed(ends, at)
    begins = pad(ends, (1, 0)).gather(1, stretch)
    within = stretches[torch.arange(len(ends)), stretch[:, 0]].double().cumsum(-1)
    return stretch * _STRETCH + _passed(within, at - begins)


def _passed(running: Tensor, at: Tensor) -> Tensor:
    """Where running sums pass a number, `(N, 1)` of `(N, K)`: never where nothing was added.

    A number that rounding has put at their end, or beyond it, is where the last was added.
    """
    last = torch.searchsorted(running, running[:, -1:].contiguous())
    return torch.minimum(torch.searchsorted(running, at, right=True), last)


def write_text(
    model: PreTrainedModel, *, window: int, seed: int = 0, rows: int = ROWS, tokens: int = TOKENS
) -> Tensor:
    """Text that the model draws from what it thinks likely, temperature 1.

    An end of a text is a token like others: what follows it is text too.

    Args:
        model: a causal LM in float32, in eval mode.
        window: of the model, in tokens.
        seed: the same gives the same text.
        rows: how many texts.
        tokens: of each; at most the window.

    Returns:
        `(rows, min(window, tokens))`, token ids.

    Raises:
        ModelError: its logits are not finite.
    """
    draw = torch.Generator().manual_seed(seed)
    begin = model.config.bos_token_id
    if isinstance(begin, int):
        ids = torch.full((rows, 1), begin)
    else:
        ids = torch.randint(model.config.vocab_size, (rows, 1), generator=draw)
    return _go_on(model, ids, min(window, tokens) - 1, draw)


def write_answers(
    model: PreTrainedModel,
    asked: Asked,
    end_ids: Sequence[int],
    *,
    window: int,
    seed: int = 0,
    tokens: int = ROWS * TOKENS,
) -> list[Answered]:
    """Short prompts that the model draws, closed as a tokenizer closes them, and its answers.

    Args:
        model: a causal LM in float32, in eval mode.
        asked: what is around a prompt.
        end_ids: what ends an answer, and belongs to it.
        window: of the model, in tokens.
        seed: the same gives the same texts.
        tokens: at least so many in all.

    Returns:
        Each of at most as many tokens as the window.

    Raises:
        ModelError: its logits are not finite.
    """
    draw = torch.Generator().manual_seed(seed)
    longest = max(1, min(_PROMPT, window // _PROMPT_SHARE))
    around = len(asked.opening) + len(asked.closing)
    allowed = torch.ones(model.config.vocab_size)
    allowed[[*asked.never, *end_ids]] = 0
    closing = torch.tensor(asked.closing).expand(ROWS, -1)
    ends, texts, written = torch.tensor(end_ids), list[Answered](), 0
    while written < tokens:
        length = int(torch.randint(1, longest + 1, (), generator=draw))
        first = draw_tokens(allowed.expand(ROWS, -1), draw)
        ids = torch.cat([torch.tensor(asked.opening).expand(ROWS, -1).long(), first], 1)
        ids = _go_on(model, ids, length - 1, draw, allowed=allowed)
        ids = torch.cat([ids, closing], 1)
        most = min(_ANSWER, window - around - length)
        ids = _go_on(model, ids, most, draw, ends=ends)
        begin = around + length
        for row in ids:
            text = _ended(row, begin, ends)
            texts.append(Answered(text, begin))
            written += len(text)
    return texts


def answer_prompts(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    end_ids: Sequence[int],
    *,
    window: int,
    seed: int = 0,
) -> list[Answered]:
    """The model's answers, drawn at temperature 1, to prompts as its tokenizer closes them.

    Args:
        model: a causal LM in float32, in eval mode.
        prompts: token ids of each; shorter than the window.
        end_ids: what ends an answer, and belongs to it.
        window: of the model, in tokens.
        seed: the same gives the same texts.

    Returns:
        One of each prompt, in their order.

    Raises:
        ModelError: its logits are not finite.
    """
    draw, ends = torch.Generator().manual_seed(seed), torch.tensor(end_ids)
    lengths: dict[int, list[int]] = {}
    for place, prompt in enumerate(prompts):
        lengths.setdefault(len(prompt), []).append(place)
    texts: dict[int, Answered] = {}
    for length, places in sorted(lengths.items()):
        for first in range(0, len(places), _ANSWERED):
            some = places[first : first + _ANSWERED]
            ids = torch.tensor([list(prompts[place]) for place in some])
            rows = _go_on(model, ids, min(_ANSWER, window - length), draw, ends=ends)
            for place, row in zip(some, rows, strict=True):
                texts[place] = Answered(_ended(row, length, ends), length)
    return [texts[place] for place in range(len(prompts))]


def _ended(row: Tensor, begin: int, ends: Tensor) -> Tensor:
    """A text up to the first end of the answer that begins there."""
    ended = torch.isin(row[begin:], ends).nonzero()
    return row[: begin + int(ended[0]) + 1] if len(ended) else row


def _go_on(
    model: PreTrainedModel,
    ids: Tensor,
    tokens: int,
    draw: torch.Generator,
    *,
    allowed: Tensor | None = None,
    ends: Tensor | None = None,
) -> Tensor:
    """Rows, and so many tokens more of those allowed, drawn by the model till all have ended."""
    texts, cache = [ids], DynamicCache(config=model.config)
    ended = torch.zeros(len(ids), 1, dtype=torch.bool)
    with torch.inference_mode():
        for _ in range(tokens):
            logits = model(texts[-1], past_key_values=cache, use_cache=True).logits[:, -1]
            if not bool(torch.isfinite(logits).all()):
                raise ModelError("the model's logits must be finite, and on its own text are not")
            likely = logits.softmax(-1)
            texts.append(draw_tokens(likely if allowed is None else likely * allowed, draw))
            if ends is not None:
                ended |= torch.isin(texts[-1], ends)
                if bool(ended.all()):
                    break
    return torch.cat(texts, dim=1)
