"""Opens the policy of a cascade's file, and the ways out that it stands at; asks no query."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from escalade.edge.cascade_file import CascadeFile, TierTable, addressed_members
from escalade.edge.errors import BudgetError, CascadeError
from escalade.edge.policy import Guard, Providers, budget_path

if TYPE_CHECKING:
    from escalade.edge.wire import Through


class Ways(NamedTuple):
    """What every channel of a cascade goes through."""

    through: Through | None
    guard: Guard | None


def guard_of(path: Path, content: CascadeFile, providers: Providers) -> Guard | None:
    """The policy of a file, its budget opened; None where it has none.

    Args:
        path: the cascade's file, whose budget it is.
        content: what it says.
        providers: who says how things stand.

    Raises:
        CascadeError: an expression cannot be compiled, or money is to be kept to and nothing has a
            price.
        BudgetError: the budget's file cannot be opened or written.
        ModuleNotFoundError: google-re2 is not there (the extra `policy`).
    """
    table = content.policy
    if table is None:
        return None
    if table.daily.money is not None and not any(map(_is_priced, content.tiers)):
        raise CascadeError(
            f"{path}: policy.daily.money: no tier elsewhere has a prompt_price or generated_price"
            " to count it by"
        )
    named = None if table.budget_file is None else path.parent / table.budget_file
    try:
        return Guard(
            table,
            providers,
            budget_file=named or budget_path(),
            cascade=str(path.resolve()),
            currency=content.currency,
        )
    except CascadeError as error:
        raise CascadeError(f"{path}: {error}") from error
    except BudgetError as error:
        raise BudgetError(f"{path}: policy.budget_file: {error}") from error


def _is_priced(table: TierTable) -> bool:
    spoken = [table] if table.address is not None else addressed_members(table)
    return any(one.prompt_price or one.generated_price for one in spoken)
