"""Lists the matrices of a graph, what they may be stored in and what else it takes; writes nothing.

The graph is written once without them: their names and what is not theirs come from there.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from escalade.edge.artifact import BudgetEntry, ChoiceEntry
from escalade.export.blueprints import Decoder, Linear
from escalade.export.errors import OptionError
from escalade.export.kept import Kept
from escalade.export.onnx.choosing.pricing import prices_of, prices_of_table
from escalade.export.onnx.graphs import write_decoder
from escalade.export.onnx.storing import HEAD, Storage, array, slice_name, table_of
from escalade.export.onnx.writer import INLINE_BYTES, PROGRAM_NAME, GraphWriter
from escalade.export.quantization import BLOCKS, WIDTHS, Choice, HeldError, Offer, spend

# A lookup's kernel reads 4 or 8 bits.
_LOOKED_UP_WIDTHS = (3, 4, 5, 6, 8)
# Where a table of words may be cut, as shares of its rows. A tokenizer's words are in the order of
# its merges, frequent ones first, and answers hang on few others: with the first thirty-second of
# SmolLM2's in 8 bits and the rest in 4 it loses half of what it does all in 4.
_CUTS = (64, 32, 16, 8, 4, 2)
# What a matrix takes in the graph's own file: its node, and three or four tensors' names, shapes
# and places; and what its table of scales adds to that, where it has one. Of SmolLM2's layers none
# takes more than 761.
_LISTED_BYTES, _TABLE_LISTED_BYTES = 640, 260
# What a slice of a table takes beyond: it is looked up beside its neighbours, by ten more nodes.
_SLICE_LISTED_BYTES = 400


@dataclass(frozen=True, kw_only=True)
class Survey(Storage):
    """Prices matrices instead of storing them, and counts what they take."""

    model: Decoder
    planes: bool
    #: Without, each choice is free, and all that is known is what it takes.
    priced: bool = True
    offers: dict[str, list[Offer]] = field(default_factory=dict)
    weights: dict[str, int] = field(default_factory=dict)
    #: Of words, which are priced in slices.
    tables: set[str] = field(default_factory=set)

    def with_rounded(self, graph: str, find: Callable[[], Mapping[str, Linear]]) -> Storage:
        """None is rounded."""
        return self

    def linear(self, graph: GraphWriter, name: str, module: Linear, values: str) -> str:
        """Price it; what it gives is its input."""
        if name in self.offers or name in self.tables:
            return graph.node("Identity", [values])
        if name == HEAD:
            self._take_table(name, module, WIDTHS, None, packed=True)
        else:
            choices = self._choices(WIDTHS)

            def prices() -> Tensor:
                return prices_of(name, module, choices, rounds_inputs=self.rounds_inputs)

            self._take(name, module, choices, self._prices(name, prices, len(choices)))
        if module.bias is not None:
            graph.weight(f"{name}.bias", array(module.bias))
        return graph.node("Identity", [values])

    def embedding(
        self, graph: GraphWriter, name: str, table: Tensor, ids: str, head: Linear | None = None
    ) -> str:
        """Price it; what it gives is the ids."""
        looked_up, packed = self.model.embedding_curvature, head is not None
        own = head or Linear(table)
        self._take_table(name, own, _LOOKED_UP_WIDTHS, looked_up, packed=packed)
        return graph.node("Identity", [ids])

    def _take_table(
        self,
        name: str,
        table: Linear,
        widths: Sequence[int],
        looked_up: Tensor | None,
        *,
        packed: bool,
    ) -> None:
        rows, choices = len(table.weight), self._choices(widths)
        firsts = sorted({0, *(rows // share for share in _CUTS)})
        slices = [slice(*ends) for ends in pairwise([*firsts, rows])]
        said = self.model.head.curvature

        def prices() -> Tensor:
            return prices_of_table(
                name,
                table,
                slices,
                choices,
                looked_up=looked_up,
                said=said,
                rounds_inputs=self.rounds_inputs,
            )

        lost = self._prices(name, prices, len(slices), len(choices))
        self.tables.add(name)
        for some, each in zip(slices, lost, strict=True):
            own = slice_name(name, some.start)
            self._take(own, table.rows(some), choices, each, sliced=True, packed=packed)

    def _prices(self, name: str, make: Callable[[], Tensor], *shape: int) -> Tensor:
        if not self.priced:
            return torch.zeros(shape)
        self.progress(name)
        return self.kept.once(f"{name}.prices", lambda: {"lost": make()})["lost"]

    def _choices(self, widths: Sequence[int]) -> list[Choice]:
        choices = [Choice(bits, size) for bits in widths for size in BLOCKS]
        fast = [choice for choice in choices if choice.has_kernel]
        return [choice for choice in fast if choice.whole or self.planes]

    def _take(
        self,
        name: str,
        linear: Linear,
        choices: Sequence[Choice],
        lost: Tensor,
        *,
        sliced: bool = False,
        packed: bool = True,
    ) -> None:
        shape = linear.weight.shape

        def bytes_of(choice: Choice) -> int:
            own = choice.bytes_of(*shape) + _TABLE_LISTED_BYTES * choice.few_scales(*shape)
            return own + (_SLICE_LISTED_BYTES + _viewed_bytes(choice, *shape)) * sliced

        def held_of(choice: Choice) -> int:
            # What is looked up alone stays in its file, but for the pages that are read.
            return packed * choice.held_bytes_of(*shape, rounds_inputs=self.rounds_inputs)

        self.offers[name] = [
            Offer(choice, bytes_of(choice), one, held_of(choice))
            for choice, one in zip(choices, lost.tolist(), strict=True)
        ]
        self.weights[name] = linear.weight.numel()

    def take(self) -> int:
        """Look at every matrix; returns the bytes of a program that are no matrix's own."""
        with tempfile.TemporaryDirectory() as scratch:
            with GraphWriter(Path(scratch) / PROGRAM_NAME, "decoder") as graph:
                write_decoder(graph, self.model, self)
            beside = sum(path.stat().st_size for path in Path(scratch).iterdir())
        return beside + _LISTED_BYTES * len(self.offers)

    def bytes_of(self, chosen: Mapping[str, Offer]) -> int:
        """At most, beside what `take` gave: slices that are stored as one are listed once."""
        joined = len(chosen) - len(self.entries(chosen))
        listed = joined * (_LISTED_BYTES + _SLICE_LISTED_BYTES)
        return sum(offer.bytes for offer in chosen.values()) - listed

    def entries(self, chosen: Mapping[str, Offer]) -> list[ChoiceEntry]:
        """For the manifest; neighbours among a table's slices that are stored alike are one."""
        entries: list[ChoiceEntry] = []
        for name, offer in chosen.items():
            bits, size = offer.choice
            entry = ChoiceEntry(
                name=name,
                bits=bits,
                block_size=size,
                weights=self.weights[name],
                expected_kl=offer.lost,
            )
            last = entries[-1] if entries else None
            if last is not None and _one_slice(last, entry):
                weights, lost = last.weights + entry.weights, last.expected_kl + entry.expected_kl
                entries[-1] = msgspec.structs.replace(last, weights=weights, expected_kl=lost)
            else:
                entries.append(entry)
        return entries


def _one_slice(first: ChoiceEntry, second: ChoiceEntry) -> bool:
    """Whether they are of one table, and stored alike."""
    table = table_of(first.name)
    alike = (first.bits, first.block_size) == (second.bits, second.block_size)
    return table is not None and table == table_of(second.name) and alike


def budget_of(
    model: Decoder,
    bits: float,
    parameters: int,
    *,
    memory_bits: float | None = None,
    activation_bits: int = 8,
    planes: bool = True,
    priced: bool = True,
    kept: Kept | None = None,
    progress: Callable[[str], None] = lambda name: None,
) -> BudgetEntry:
    """Choose bits and block size of each matrix, so that the program loses least within a budget.

    Args:
        model: with hessians and curvatures.
        bits: of the program's files, for each of its weights.
        parameters: how many weights there are.
        memory_bits: of the matrices as kernels hold them, for each weight, at most; None where
            memory does not matter.
        activation_bits: of what matrices are multiplied with, 8 or 32.
        planes: whether integers may be stored in planes.
        priced: whether by what choices lose, which takes its time; without, the model needs no
            hessians, and what is found is only whether there is a choice.
        kept: where prices stay until all is done.
        progress: called with the name of each matrix before it is priced.

    Raises:
        OptionError: no choice makes a program of so few bits, or every one of fewer; none of so
            few is held in so few; what a matrix was fed is not finite.
    """
    survey = Survey(
        scheme="int4",
        block_size=BLOCKS[0],
        activation_bits=activation_bits,
        planes=planes,
        model=model,
        priced=priced,
        kept=kept or Kept(),
        progress=progress,
    )
    beside = survey.take()
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
    most_held = None if memory_bits is None else int(memory_bits * parameters / 8)
    try:
        chosen = _spent(survey, int(bits * parameters / 8) - beside, most_held)
    except HeldError as error:
        least = math.ceil(100 * 8 * error.least / parameters) / 100
        raise OptionError(
            f"--memory-bits must be at least {least:.2f} for this model with --bits {bits:g},"
            f" got {memory_bits:g}"
        ) from error
    return BudgetEntry(
        bits=bits,
        memory_bits=msgspec.UNSET if memory_bits is None else memory_bits,
        choices=survey.entries(chosen),
    )


def _spent(survey: Survey, most: int, most_held: int | None) -> dict[str, Offer]:
    """Within so many bytes; what slices that are stored as one do not take is spent too."""
    chosen, spared = spend(survey.offers, most, most_held), 0
    while (found := _whole(chosen) - survey.bytes_of(chosen)) > spared:
        spared = found
        more = spend(survey.offers, most + spared, most_held)
        if survey.bytes_of(more) <= most:
            chosen = more
    return chosen


def _whole(chosen: Mapping[str, Offer]) -> int:
    return sum(offer.bytes for offer in chosen.values())


def _viewed_bytes(choice: Choice, rows: int, columns: int) -> int:
    """Of tensors that lie in the graph itself and have a view, which is there beside them."""
    blocks = rows * -(-columns // choice.block_size)
    scales = blocks * (1 if choice.few_scales(rows, columns) else 2)
    integers = blocks * choice.block_size * choice.bits // 8 if choice.whole else 0
    return sum(some for some in (scales, integers) if some <= INLINE_BYTES)
