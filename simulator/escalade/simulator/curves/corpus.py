"""Corpus BLEU and chrF from sacrebleu's sentence statistics; knows no trace and no threshold.

sacrebleu sums these statistics over a corpus and scores the sum once. A deferral curve
scores thousands of sums, so the last step is vectorised here. The rows are sacrebleu's
own (`_extract_corpus_statistics`, which its significance tests use too); tests hold every
score against `sacrebleu.corpus_bleu` and `sacrebleu.corpus_chrf`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from escalade.simulator.recorded import Floats

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

#: Precisions of 1 to 4 grams (Papineni et al. 2002).
_ORDERS = 4

#: Recall counts beta squared times as much as precision (Popovic 2016, W16-2341).
_BETA = 2


def bleu_row(text: str, references: tuple[str, ...]) -> tuple[float, ...]:
    """`(length, reference length, matches of order 1..4, n-grams of order 1..4)`."""
    row = _bleu()._extract_corpus_statistics([text], [[one] for one in references])[0]
    return tuple(map(float, row))


def chrf_row(text: str, references: tuple[str, ...]) -> tuple[float, ...]:
    """For each order 1..6: n-grams of the answer, of the best reference, and matches."""
    row = _chrf()._extract_corpus_statistics([text], [[one] for one in references])[0]
    return tuple(map(float, row))


def bleu_score(sums: Floats, queries: float) -> Floats:
    """BLEU in [0, 100] of summed rows `(10, ...)`: `BLEU.compute_bleu` with its smoothing `exp`."""
    length, reference = sums[0], sums[1]
    matches, ngrams = sums[2 : 2 + _ORDERS], sums[2 + _ORDERS :]
    # The k-th order without a match counts as 1 / 2^k matches (sacrebleu: mteval-v13a).
    none = matches == 0
    counted = np.where(none, 0.5 ** np.cumsum(none, axis=0), matches)
    # Where an order has no n-gram at all, or nothing matches, the score is 0.
    defined = (ngrams > 0).all(axis=0) & (matches > 0).any(axis=0)
    precision = counted / np.where(ngrams > 0, ngrams, 1.0)
    penalty = np.exp(np.minimum(0.0, 1.0 - reference / np.maximum(length, 1e-300)))
    score = 100.0 * penalty * np.exp(np.log(precision).mean(axis=0))
    return np.where(defined, score, 0.0)


def chrf_score(sums: Floats, queries: float) -> Floats:
    """chrF2 in [0, 100] of summed rows `(18, ...)`: `CHRF` without smoothing, the default."""
    answer, reference, matches = sums[0::3], sums[1::3], sums[2::3]
    both = (answer > 0) & (reference > 0)
    orders = np.maximum(both.sum(axis=0), 1)
    precision = np.where(both, matches / np.where(both, answer, 1.0), 0.0).sum(axis=0) / orders
    recall = np.where(both, matches / np.where(both, reference, 1.0), 0.0).sum(axis=0) / orders
    weighted = _BETA**2 * precision + recall
    f_score = (1 + _BETA**2) * precision * recall / np.where(weighted > 0, weighted, 1.0)
    return np.asarray(100.0 * f_score, dtype=np.float64)


def bleu_signature(references: int) -> str:
    """What a BLEU score is to be quoted with; -1 references: their number varies."""
    return _signature(_bleu(), references)


def chrf_signature(references: int) -> str:
    """What a chrF score is to be quoted with; -1 references: their number varies."""
    return _signature(_chrf(), references)


def _signature(metric: BLEU | CHRF, references: int) -> str:
    metric.num_refs = references
    return str(metric.get_signature())


@cache
def _bleu() -> BLEU:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(force=True)


@cache
def _chrf() -> CHRF:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()
