"""Options that name artifacts, and what may be opened of them; knows no part."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ArtifactArgument = Annotated[
    Path, typer.Argument(help="Artifact folder, as `escalade export` writes it.")
]
CascadeArgument = Annotated[
    Path, typer.Argument(help="Artifact folder, or a cascade.toml that names tiers.")
]
StoreArgument = Annotated[Path, typer.Argument(help="Folder that keeps versions of an artifact.")]
TrustedKeyOption = Annotated[
    Path | None,
    typer.Option("--trusted-key", help="Public key (PEM): take only what it has signed."),
]
SkipGoldenOption = Annotated[
    bool,
    typer.Option("--skip-golden", help="Check the files alone; do not load the program."),
]


def bytes_of(text: str) -> int:
    """A number of bytes as people write it: 300000, 64K, 512M, 2G (powers of 1024).

    Raises:
        BadParameter: it is none.
    """
    digits = text.rstrip("KMG")
    if not digits.isascii() or not digits.isdecimal() or len(text) - len(digits) > 1:
        raise typer.BadParameter(f"{text!r} is no size: give bytes, or a number with K, M or G")
    return int(digits) << {"": 0, "K": 10, "M": 20, "G": 30}[text[len(digits) :]]


MaxMemoryOption = Annotated[
    int | None,
    typer.Option(
        "--max-memory",
        parser=bytes_of,
        metavar="BYTES",
        help="Refuse models that need more together: bytes, or with K, M, G.",
    ),
]
