"""How bits were spent, and what `escalade export` took itself, for people; exports nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.table import Table

from escalade.cli.output import harmless

if TYPE_CHECKING:
    from escalade.edge.artifact import BudgetEntry

_LAYERS = "layers."


def budget_table(budget: BudgetEntry) -> Table:
    """A row for each layer, a column for each kind of matrix; `4/32` is 4 bits in blocks of 32."""
    rows: dict[str, dict[str, str]] = {}
    for choice in budget.choices:
        row, kind = choice.name, "matrix"
        if choice.name.startswith(_LAYERS):
            number, _, kind = choice.name.removeprefix(_LAYERS).partition(".")
            row = f"layer {number}"
        rows.setdefault(row, {})[kind] = f"{choice.bits}/{choice.block_size}"
    kinds = list(dict.fromkeys(kind for cells in rows.values() for kind in cells))
    table = Table("", *map(harmless, kinds), title=_most(budget))
    for row, cells in rows.items():
        table.add_row(harmless(row), *(cells.get(kind, "") for kind in kinds))
    return table


def _most(budget: BudgetEntry) -> str:
    memory = f", {budget.memory_bits:g} in memory" if budget.memory_bits else ""
    return f"at most {budget.bits:g} bits a weight{memory}"


def spent_lines(budget: BudgetEntry) -> list[str]:
    """How many of the weights have how many bits, and what that lost where it was measured."""
    weights: dict[int, int] = {}
    for choice in budget.choices:
        weights[choice.bits] = weights.get(choice.bits, 0) + choice.weights
    total = sum(weights.values())
    shares = ", ".join(f"{count / total:.0%} in {bits}" for bits, count in sorted(weights.items()))
    lines = [f"{_most(budget)}: {shares}"]
    return [*lines, budget.lost.in_words] if budget.lost else lines


def took_line(seconds: float) -> str:
    """Seconds, and the most memory that this process has held, where the platform says."""
    try:
        import resource
    except ImportError:  # Windows
        return f"took {seconds:.0f} s"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes elsewhere
    return f"took {seconds:.0f} s and at most {peak * unit / 2**20:,.0f} MiB"
