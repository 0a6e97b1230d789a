"""`escalade store install`: an artifact fetched, checked and made current; knows no model."""

from __future__ import annotations

from typing import Annotated

import typer

from escalade.cli.options import JsonOption, SkipGoldenOption, StoreArgument, TrustedKeyOption


def install(
    source: Annotated[
        str, typer.Argument(help="Artifact folder, or its https:// or file:// address.")
    ],
    store: StoreArgument,
    trusted_key: TrustedKeyOption = None,
    keep: Annotated[
        int, typer.Option("--keep", min=0, help="Versions before this one to keep for rollback.")
    ] = 2,
    allow_older: Annotated[
        bool,
        typer.Option("--allow-older", help="Take one made before the current version, too."),
    ] = False,
    skip_golden: SkipGoldenOption = False,
    json: JsonOption = False,
) -> None:
    """Fetch an artifact, check it, and make it the store's current version in one step."""
    from escalade.cli.output import note_console, print_json, progress_bar, result_console
    from escalade.edge.artifact import read_manifest
    from escalade.edge.generation import check_opens
    from escalade.edge.store import install as install_artifact

    with progress_bar("fetching") as bar:
        done = install_artifact(
            source,
            store,
            trusted_key=trusted_key,
            keep=keep,
            allow_older=allow_older,
            check=read_manifest if skip_golden else check_opens,
            progress=bar,
            waiting=lambda: note_console().print(f"{store}: waiting for another change"),
        )
    if json:
        print_json(done)
        return
    was = done.before[:12] if done.before else "nothing"
    result_console().print(
        f"{store}: current is {done.id[:12]}, was {was}\n"
        f"fetched {done.fetched_bytes:,} of {done.total_bytes:,} bytes; signature"
        f" {f'by {trusted_key}' if trusted_key else 'not checked'}"
    )
