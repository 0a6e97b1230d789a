"""Lets a causal LM write the text that its weights are rounded by; knows no rounding.

Without anybody's text, a model's own is near to what it was trained on, and rounds as well
(self-calibration: Williams, Chrysostomou, Aletras, NAACL 2025, arXiv 2410.17170; LLM-QAT: Liu et
al., arXiv 2305.17888, which begins with tokens drawn from the vocabulary, as is done here for a
model that has no token of beginning).
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from escalade.export.errors import ModelError

#: Rows of text, each as long as the window, or this many tokens.
ROWS, TOKENS = 16, 256


def draw_tokens(probabilities: Tensor, draw: torch.Generator) -> Tensor:
    """One token of each row, as likely as that says: `(N, 1)` of `(N, V)`.

    By one random number a row, where `torch.multinomial` takes one for each token of the
    vocabulary: of 49,152 tokens a tenth of what the model itself takes.
    """
    below = probabilities.double().cumsum(-1)
    at = torch.rand(len(below), 1, generator=draw, dtype=torch.float64) * below[:, -1:]
    return torch.searchsorted(below, at, right=True).clamp_max(below.shape[-1] - 1)


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
    texts, cache = [ids], DynamicCache(config=model.config)
    with torch.inference_mode():
        for _ in range(min(window, tokens) - 1):
            logits = model(ids, past_key_values=cache, use_cache=True).logits[:, -1]
            if not bool(torch.isfinite(logits).all()):
                raise ModelError("the model's logits must be finite, and on its own text are not")
            ids = draw_tokens(logits.softmax(-1), draw)
            texts.append(ids)
    return torch.cat(texts, dim=1)
