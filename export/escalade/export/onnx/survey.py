"""Lists the matrices of a graph, what they may be stored in and what else it takes; writes nothing.

The graph is written once without them: their names and what is not theirs come from there.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from escalade.edge.artifact import BudgetEntry, ChoiceEntry
from escalade.export.blueprints import Decoder, Linear
from escalade.export.errors import OptionError
from escalade.export.kept import Kept
from escalade.export.onnx.decoder_graph import write_decoder
from escalade.export.onnx.products import array
from escalade.export.onnx.storage import Storage
from escalade.export.onnx.writer import PROGRAM_NAME, GraphWriter
from escalade.export.quantization import BLOCKS, WIDTHS, Choice, Offer, offers_of, spend

# A lookup reads 4 or 8 bits.
_LOOKED_UP_WIDTHS = (4, 8)
# What a matrix takes in the graph's own file: its node, and three or four tensors' names, shapes
# and places. At most 640 in SmolLM2's.
_LISTED_BYTES = 640


@dataclass(frozen=True, kw_only=True)
class _Survey(Storage):
    """Prices matrices instead of storing them."""

    model: Decoder
    offers: dict[str, list[Offer]] = field(default_factory=dict)
    weights: dict[str, int] = field(default_factory=dict)

    def linear(self, graph: GraphWriter, name: str, module: Linear, values: str) -> str:
        if name not in self.offers:
            self._take(name, module, WIDTHS)
            if module.bias is not None:
                graph.weight(f"{name}.bias", array(module.bias))
        return graph.node("Identity", [values])

    def embedding(
        self, graph: GraphWriter, name: str, table: Tensor, ids: str, head: Linear | None = None
    ) -> str:
        self._take(name, head or Linear(table), _LOOKED_UP_WIDTHS, self.model.embedding_curvature)
        return graph.node("Identity", [ids])

    def _take(
        self, name: str, linear: Linear, widths: Sequence[int], looked_up: Tensor | None = None
    ) -> None:
        self.progress(name)
        choices = [Choice(bits, size) for bits in widths for size in BLOCKS]
        step = self.kept.once(
            f"{name}.offers", lambda: {"lost": _lost(name, linear, choices, looked_up)}
        )
        self.offers[name] = [
            Offer(choice, choice.bytes_of(*linear.weight.shape), lost)
            for choice, lost in zip(choices, step["lost"].tolist(), strict=True)
        ]
        self.weights[name] = linear.weight.numel()


def _lost(name: str, linear: Linear, choices: Sequence[Choice], looked_up: Tensor | None) -> Tensor:
    """What each choice costs in KL; nothing where nobody reads products, nor looks rows up."""
    lost = torch.zeros(len(choices), dtype=torch.float64)
    for part in linear.parts or (linear,):
        if part.hessian is not None and part.curvature is not None:
            hessian = part.hessian.whole()
            if not bool(torch.isfinite(hessian).all() and torch.isfinite(part.curvature).all()):
                raise OptionError(f"--bits: {name}: what it is fed on this text is not finite")
            offers = offers_of(part.weight, hessian, part.curvature, choices)
            lost += torch.tensor([offer.lost for offer in offers], dtype=torch.float64)
    if looked_up is not None:
        # Rows as often as any other: what stands in the vocabulary's long tail counts too.
        rows = len(linear.weight)
        each = torch.full((rows,), 1 / rows)
        offers = offers_of(linear.weight, torch.diag(looked_up), each, choices)
        lost += torch.tensor([offer.lost for offer in offers], dtype=torch.float64)
    return lost


def budget_of(
    model: Decoder,
    bits: float,
    parameters: int,
    *,
    kept: Kept | None = None,
    progress: Callable[[str], None] = lambda name: None,
) -> BudgetEntry:
    """Choose bits and block size of each matrix, so that the program loses least within a budget.

    Args:
        model: with hessians and curvatures.
        bits: of the program's files, for each of its weights.
        parameters: how many weights there are.
        kept: where prices stay until all is done.
        progress: called with the name of each matrix before it is priced.

    Raises:
        OptionError: no choice makes a program of so few bits, or every one of fewer; what a
            matrix was fed is not finite.
    """
    survey = _Survey(
        scheme="int4",
        block_size=BLOCKS[0],
        model=model,
        kept=kept or Kept(),
        progress=progress,
    )
    with tempfile.TemporaryDirectory() as scratch:
        with GraphWriter(Path(scratch) / PROGRAM_NAME, "decoder") as graph:
            write_decoder(graph, model, survey)
        beside = sum(path.stat().st_size for path in Path(scratch).iterdir())
    beside += _LISTED_BYTES * len(survey.offers)
    fewest, most = (
        beside + sum(some(offer.bytes for offer in each) for each in survey.offers.values())
        for some in (min, max)
    )
    low, high = 8 * fewest / parameters, 8 * most / parameters
    if not low <= bits <= high:
        raise OptionError(
            f"--bits must be {math.ceil(100 * low) / 100:.2f} to {math.floor(100 * high) / 100:.2f}"
            f" for this model, got {bits:g}"
        )
    chosen = spend(survey.offers, int(bits * parameters / 8) - beside)
    return BudgetEntry(
        bits=bits,
        choices=[
            ChoiceEntry(
                name=name,
                bits=offer.choice.bits,
                block_size=offer.choice.block_size,
                weights=survey.weights[name],
                expected_kl=offer.lost,
            )
            for name, offer in chosen.items()
        ],
    )
