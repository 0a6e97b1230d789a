"""Writes prompts like those that it is shown, of which there are few; knows no model.

As a chain of tokens (Shannon, A Mathematical Theory of Communication, 1948, section 3): each is
one that followed the same few before it, somewhere in what was shown. Of words, spelled, these are
words that might be. A model answers them as it answers others, so that more is seen of it.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

# Tokens that the next hangs on. With three and with four the bundled small model lost as much of
# validation prompts, tuned by what it answered.
_BEFORE = 4
# Of what is written most may be what was shown, or was written before: so often for each wanted.
_TRIES = 20
_NONE = -1  # before the first token, and after the last


def write_alike(
    prompts: Sequence[Sequence[int]], count: int, *, longest: int, seed: int = 0
) -> list[list[int]]:
    """Prompts that are none of those shown, each once; fewer where too few are found.

    Args:
        prompts: token ids of each.
        count: how many are wanted.
        longest: tokens of one, at most.
        seed: the same writes the same.
    """
    draw = random.Random(seed)  # noqa: S311 - no secret
    after: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for prompt in prompts:
        tokens = [_NONE] * _BEFORE + [*prompt, _NONE]
        for at in range(_BEFORE, len(tokens)):
            after[tuple(tokens[at - _BEFORE : at])].append(tokens[at])
    known = {tuple(prompt) for prompt in prompts}
    found: list[list[int]] = []
    for _ in range(_TRIES * count):
        if len(found) == count:
            break
        written: list[int] = []
        seen = (_NONE,) * _BEFORE
        while len(written) <= longest and (token := draw.choice(after[seen])) != _NONE:
            written.append(token)
            seen = (*seen[1:], token)
        if len(written) <= longest and tuple(written) not in known:
            known.add(tuple(written))
            found.append(written)
    return found
