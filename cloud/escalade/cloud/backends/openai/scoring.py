"""Log-probabilities of a prompt's tokens as scores and readings of drafts; knows no transport.

vLLM gives them where `prompt_logprobs` asks: for each token of the prompt but the first itself and
the likeliest ones, computed in one pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from escalade.cloud.backends.drafts import Choice, LetsStand, Reading
from escalade.cloud.backends.openai.server import Choice as Completion
from escalade.cloud.backends.openai.server import Token, check_ids, checked, garbage
from escalade.cloud.backends.query import Scores


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


def rows_of(choice: Completion, given: Sequence[int], count: int, k: int, size: int) -> list[Row]:
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


def reading_of(rows: Sequence[Row], after: Token) -> Reading:
    """What the server says at each place of a draft, `(D,)` rows, and which token after it."""
    own = [Choice(*row.best[0], row.margin) for row in rows]
    return Reading([*own, Choice(*after)], [row.logprob for row in rows])


def trusted(
    reading: Reading, draft_ids: Sequence[int], lets_stand: LetsStand | None, tie: float
) -> Iterator[Choice]:
    """How an answer begins by a draft's reading: what stands of it, and the choice after that.

    Where two tokens are nearly as likely, a pass over many tokens and one over each may differ: the
    reading ends before it, but where a rule lets more stand than the server's own choices.

    Args:
        reading: of the draft.
        draft_ids: `(D,)`.
        lets_stand: see `Reading.choices`.
        tie: log-probabilities nearer than this may change places.
    """
    for choice in reading.choices(draft_ids, lets_stand):
        if lets_stand is None and choice.margin < tie:
            return
        yield choice
