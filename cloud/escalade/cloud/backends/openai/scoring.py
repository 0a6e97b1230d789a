"""Log-probabilities of a prompt's tokens as scores and verdicts; knows no transport.

vLLM gives them where `prompt_logprobs` asks: for each token of the prompt but the first itself and
the likeliest ones, computed in one pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from escalade.cloud.backends.openai.server import Choice, Token, check_ids, checked, garbage
from escalade.cloud.backends.query import Scores, Verdict


class Row(NamedTuple):
    """What might have stood in a place of a text."""

    #: Of the token that stands there.
    logprob: float
    #: Ids and their log-probabilities, best first; the lower id where two are equal.
    best: Sequence[tuple[int, float]]

    @property
    def margin(self) -> float:
        """The best above the second best."""
        (_, first), (_, second), *_ = self.best
        return first - second


def rows_of(choice: Choice, given: Sequence[int], count: int, k: int, size: int) -> list[Row]:
    """The places of the last `count` tokens of a prompt.

    Args:
        choice: what came.
        given: `(P,)` the prompt.
        count: of its tokens that are scored, below P.
        k: entries that were asked for, at least 1.
        size: of the vocabulary.

    Raises:
        EngineDeadError: they are not there, or cannot be.
    """
    said = choice.prompt_logprobs
    if said is None or len(said) != len(given):
        raise garbage("has no log-probability for each token of the prompt")
    rows = []
    for token, entries in zip(given[-count:], said[-count:], strict=True):
        if entries is None or token not in entries or len(entries) < min(k, size):
            raise garbage("lacks log-probabilities of a token of the prompt")
        check_ids(list(entries), size)
        known = {one: checked(entry.logprob) for one, entry in entries.items()}
        best = sorted(known.items(), key=lambda item: (-item[1], item[0]))[:k]
        rows.append(Row(known[token], best))
    return rows


def scores_of(rows: Sequence[Row], top_k: int) -> Scores:
    """Scores of a response, `(N,)` rows of at least `top_k` entries."""
    best = [row.best[:top_k] for row in rows]
    shape = len(rows), top_k
    return Scores(
        argmax=np.array([row.best[0][0] for row in rows], np.int32),
        response_logprobs=np.array([row.logprob for row in rows], np.float32),
        top_ids=np.array([[one for one, _ in row] for row in best], np.int32).reshape(shape),
        top_logprobs=np.array([[p for _, p in row] for row in best], np.float32).reshape(shape),
    )


def verdict_of(
    draft: Sequence[int], rows: Sequence[Row], after: Token, ends: Sequence[int]
) -> Verdict:
    """How far a draft holds.

    Args:
        draft: `(D,)`.
        rows: `(D,)` its places.
        after: the choice after all of it.
        ends: tokens after which nothing comes.
    """
    choices = [*(Token(*row.best[0], row.margin) for row in rows), after]
    accepted = 0
    while accepted < len(draft) and choices[accepted].id == draft[accepted]:
        accepted += 1
        if draft[accepted - 1] in ends:
            return Verdict(accepted, None, 0.0, [row.logprob for row in rows], 0)
    correction = choices[accepted]
    return Verdict(accepted, correction.id, correction.margin, [row.logprob for row in rows], 0)


def trusted(draft: Sequence[int], rows: Sequence[Row], after: Token, tie: float) -> list[Token]:
    """How an answer begins by a draft's reading: as far as it agrees, and the choice after that.

    Where two tokens are nearly as likely, a pass over many tokens and one over each may differ: the
    reading ends before it.

    Args:
        draft: `(D,)`.
        rows: `(D,)` its places.
        after: the choice after all of it.
        tie: log-probabilities nearer than this may change places.
    """
    chosen = []
    for choice, token in zip(
        (*(Token(*row.best[0], row.margin) for row in rows), after), (*draft, None), strict=True
    ):
        if choice.margin < tie:
            break
        chosen.append(choice)
        if choice.id != token:
            break
    return chosen
