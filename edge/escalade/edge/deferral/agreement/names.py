"""Agreements by the names that cascade files and traces use; knows no file."""

from __future__ import annotations

from functools import lru_cache

from escalade.edge.base import nearest
from escalade.edge.deferral.agreement.agreement import Agreement
from escalade.edge.deferral.agreement.mean_score import MeanScore
from escalade.edge.deferral.agreement.measures import MEASURES
from escalade.edge.deferral.agreement.medoid import Medoid
from escalade.edge.deferral.agreement.normalisers import NORMALISERS
from escalade.edge.deferral.agreement.vote import Vote

#: The rule of a tier of several members where nothing else is said.
VOTE = "vote"

_SIMILARITY = "similarity"
#: By the sentence encoder that the gate names beside it.
EMBEDDING = f"{_SIMILARITY}:embedding"
_VOTES = {
    agreement.name: agreement for key in NORMALISERS for agreement in (Vote(key), MeanScore(key))
}
_SIMILARITIES = {f"{_SIMILARITY}:{key}": key for key in MEASURES}


@lru_cache(16)
def agreement_named(name: str) -> Agreement:
    """The agreement that a cascade's file or a trace calls by name.

    Args:
        name: `vote` or `mean-score`, each alone or with a normaliser (`vote:words`); or
            `similarity:chrf`, `similarity:edit`.

    Raises:
        ValueError: there is none; the message lists all and the nearest. Or what it needs, a
            library or an encoder, is not there.
    """
    if name in _VOTES:
        return _VOTES[name]
    if name in _SIMILARITIES:
        try:
            return Medoid(name, MEASURES[_SIMILARITIES[name]]())
        except ModuleNotFoundError as error:
            raise ValueError(
                f"rule {name!r} needs {error.name}: pip install 'escalade[similarity]'"
            ) from error
    if name == EMBEDDING:
        raise ValueError(
            f"rule {name!r} needs a sentence encoder, which the gate of a cascade names: encoder ="
            " FOLDER"
        )
    known = (*_VOTES, *_SIMILARITIES, EMBEDDING)
    raise ValueError(
        f"rule of several members must be one of {', '.join(known)}; got"
        f" {name[:80]!r}{nearest(name, known)}"
    )


def reads_logprobs(rule: str | None) -> bool:
    """`Gate.reads_logprobs` of a rule by its name; of no rule False."""
    if rule is None or (is_agreement(rule) and rule not in _VOTES):
        return False
    return rule not in _VOTES or _VOTES[rule].reads_logprobs


def is_agreement(name: str | None) -> bool:
    """Whether a name is that of an agreement."""
    return name in _VOTES or name in _SIMILARITIES or name == EMBEDDING
