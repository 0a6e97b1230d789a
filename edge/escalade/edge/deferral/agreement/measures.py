"""How alike two texts are, by libraries that are loaded where a tier asks for them.

An embedding is not among them: a sentence encoder is an artifact of its own, which a cascade's gate
names and opens.
"""

from __future__ import annotations

from collections.abc import Callable

from escalade.edge.deferral.agreement.medoid import Measure


def edit() -> Measure:
    """1 - d / n: the edit distance of Levenshtein, by the length of the longer text."""
    from rapidfuzz.distance import Levenshtein

    return Levenshtein.normalized_similarity


def chrf() -> Measure:
    """Character n-grams to 6: chrF (Popovic 2015) with beta = 1, the same both ways."""
    from sacrebleu.metrics.chrf import CHRF

    metric = CHRF(beta=1)

    def measure(one: str, other: str) -> float:
        return float(metric.sentence_score(one, [other]).score) / 100.0

    return measure


#: By the name that follows the rule's: `similarity:chrf`.
MEASURES: dict[str, Callable[[], Measure]] = {"chrf": chrf, "edit": edit}
