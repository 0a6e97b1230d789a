"""`escalade tasks`: the bundled tasks as files; knows no model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from escalade.cli.options import JsonOption


def tasks(
    out: Annotated[Path, typer.Argument(help="Folder for train.jsonl, valid.jsonl, test.jsonl.")],
    json: JsonOption = False,
) -> None:
    """Write the bundled tasks (g2p, p2g, stress, syllables) as query records."""
    from escalade.cli.output import print_json, progress_bar, result_console
    from escalade.training.data import write_splits

    with progress_bar("writing the tasks") as tick:
        sizes = write_splits(out, tick)
    if json:
        print_json(sizes)
        return
    for split, size in sizes.items():
        result_console().print(f"{out / f'{split}.jsonl'}: {size} queries")
