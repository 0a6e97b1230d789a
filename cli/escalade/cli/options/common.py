"""Options of any verb: what to read, how much of it, and how to say what was found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DataOption = Annotated[
    Path,
    typer.Option("--data", help="Query records, JSON Lines: id, task, prompt, references."),
]
LimitOption = Annotated[
    int | None,
    typer.Option("--limit", min=1, help="Use that many records, evenly spread over the file."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Same seed, same numbers.")]
ReportOption = Annotated[Path | None, typer.Option("--report", help="Write a page (HTML) here.")]
FiguresOption = Annotated[
    Path | None,
    typer.Option("--figures", help="Write figures for a paper (PNG, SVG) into this folder."),
]
TablesOption = Annotated[
    Path | None,
    typer.Option("--tables", help="Write every number (CSV, Parquet) into this folder."),
]


def given_options(context: typer.Context) -> set[str]:
    """The options that the command line gives, whatever they say: each by its first name."""
    given = set()
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE" and parameter.opts[0][:2] == "--":
            given.add(parameter.opts[0])
    return given
