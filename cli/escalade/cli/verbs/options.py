"""Options that several verbs share; knows no part."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ArtifactArgument = Annotated[
    Path, typer.Argument(help="Artifact folder, as `escalade export` writes it.")
]
DataOption = Annotated[
    Path,
    typer.Option("--data", help="Query records, JSON Lines: id, task, prompt, references."),
]
LimitOption = Annotated[
    int | None,
    typer.Option("--limit", min=1, help="Use that many records, evenly spread over the file."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
ThresholdOption = Annotated[
    float | None,
    typer.Option("--threshold", help="Defer when the score reaches this; default: the manifest's."),
]
DeadlineOption = Annotated[
    float, typer.Option("--deadline-s", min=0.001, help="Seconds the cloud has for one query.")
]
SendTextOption = Annotated[
    bool,
    typer.Option(
        "--send-text", help="Send the prompt as text: for a cloud model with another tokenizer."
    ),
]
CaCertOption = Annotated[
    Path | None, typer.Option("--ca-cert", help="Root certificates (PEM) to trust.")
]
PlaintextOption = Annotated[
    bool,
    typer.Option("--plaintext", help="Without TLS even where the cloud is not on loopback."),
]
SeedOption = Annotated[int, typer.Option("--seed", help="Same seed, same numbers.")]
