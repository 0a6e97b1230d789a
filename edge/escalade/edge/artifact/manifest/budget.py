"""How bits were spent on the matrices of a program, and what that lost; knows no runtime."""

from __future__ import annotations

from typing import Annotated

import msgspec

from escalade.edge.artifact.manifest.planes import PlanesEntry
from escalade.edge.base import counted
from escalade.edge.deferral import Table

# Times; of more nobody asks for digits, of which there may be 300.
_MANY = 1000
_Positive = Annotated[int, msgspec.Meta(ge=1, le=1 << 44)]


class ChoiceEntry(Table, frozen=True, kw_only=True):
    """How one matrix is stored."""

    name: str
    bits: Annotated[int, msgspec.Meta(ge=1, le=32)]
    #: Input values that share a scale.
    block_size: _Positive
    #: How many it has.
    weights: _Positive
    #: Mean KL, in nats, that it was expected to cost when it was chosen.
    expected_kl: float


class LostEntry(Table, frozen=True, kw_only=True):
    """A program against its model in float32, over the tokens of held-out texts."""

    #: Who wrote the texts: the model itself, or records.
    source: str
    texts: int
    tokens: int
    #: KL(model || program) of the next token, in nats.
    mean_kl: float
    p99_kl: float
    worst_kl: float
    #: Share of the places where both think the same token likeliest.
    same_argmax: float
    #: Perplexity of the program over that of the model; at most what a float holds.
    perplexity_ratio: float
    #: Mean over texts of the program's score r(x), the mean NLL, less the model's.
    mean_score_drift: float
    #: The largest of a text, without its sign.
    worst_score_drift: float

    @property
    def in_words(self) -> str:
        """A line for people."""
        times = self.perplexity_ratio
        perplexity = f"{times:.3f}" if times < _MANY else f"{times:.2g}"
        return (
            f"lost on {counted(self.tokens, 'token', ',')} of {self.source}: KL mean"
            f" {self.mean_kl:.2g}, p99 {self.p99_kl:.2g}, worst {self.worst_kl:.2g}; same argmax"
            f" {self.same_argmax:.1%}; perplexity {perplexity} x; score r(x)"
            f" {self.mean_score_drift:+.2g} mean, {self.worst_score_drift:.2g} at most"
        )


class BudgetEntry(Table, frozen=True, kw_only=True):
    """A budget of bits, and what it was spent on."""

    #: For each weight, all told: scales, zero points and what is no matrix.
    bits: float
    #: Of matrices alone, as kernels hold them in memory; where that was limited.
    memory_bits: float | msgspec.UnsetType = msgspec.UNSET
    choices: list[ChoiceEntry]
    #: Of matrices in 3, 5 and 6 bits, in the order of their file; where there are any.
    planes: list[PlanesEntry] | msgspec.UnsetType = msgspec.UNSET
    #: What the program lost, where that was measured.
    lost: LostEntry | msgspec.UnsetType = msgspec.UNSET
