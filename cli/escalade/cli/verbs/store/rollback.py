"""`escalade store rollback`: back to an earlier version; fetches nothing."""

from __future__ import annotations

from typing import Annotated

import typer

from escalade.cli.options import JsonOption, StoreArgument


def rollback(
    store: StoreArgument,
    to: Annotated[
        str | None,
        typer.Option("--to", help="First characters of a version; default: the one before."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Make the version before the current one current again."""
    from escalade.cli.output import note_console, print_json, result_console
    from escalade.edge.store import Store

    before, now = Store(store).rollback(
        to, waiting=lambda: note_console().print(f"{store}: waiting for another change")
    )
    if json:
        print_json({"before": before, "current": now})
        return
    result_console().print(f"{store}: current is {now[:12]}, was {before[:12]}")
