"""`escalade store sign`: an owner's name under an artifact; knows no store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from escalade.cli.options import ArtifactArgument, JsonOption


def sign(
    artifact: ArtifactArgument,
    key: Annotated[
        Path, typer.Option("--key", help="Private key (PEM), elliptic curve, without password.")
    ],
    json: JsonOption = False,
) -> None:
    """Sign an artifact: write model.sig over its manifest, which names every other file."""
    from escalade.cli.output import print_json, result_console
    from escalade.edge.artifact import SIGNATURE_NAME
    from escalade.edge.artifact import sign as sign_artifact

    sign_artifact(artifact, key)
    path = artifact / SIGNATURE_NAME
    if json:
        print_json({"signature": str(path)})
        return
    result_console().print(f"{path}: signed; give the public key to those who open it")
