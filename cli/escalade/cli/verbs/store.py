"""`escalade sign`, `verify`, `install`, `rollback` and `versions`; knows no network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from escalade.cli.options import ArtifactArgument, JsonOption

StoreArgument = Annotated[Path, typer.Argument(help="Folder that keeps versions of an artifact.")]
TrustedKeyOption = Annotated[
    Path | None,
    typer.Option("--key", help="Public key (PEM): refuse what it has not signed."),
]
SkipGoldenOption = Annotated[
    bool,
    typer.Option("--skip-golden", help="Check the files alone; do not load the program."),
]


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


def verify(
    artifact: ArtifactArgument,
    key: TrustedKeyOption = None,
    skip_golden: SkipGoldenOption = False,
    json: JsonOption = False,
) -> None:
    """Check an artifact: schema, files and hashes, golden prompts, and who signed it."""
    from escalade.cli.output import print_json, result_console
    from escalade.edge.artifact import (
        check_signature,
        is_signed,
        read_manifest,
        shared_lock_if_possible,
    )
    from escalade.edge.generation import Artifact

    with shared_lock_if_possible(artifact) as folder:
        if key is not None:
            check_signature(folder, key)
            signature = f"signed by {key}"
        elif is_signed(folder):
            signature = "signed, signer not checked: give --key"
        else:
            signature = "not signed"
        manifest = read_manifest(folder)
        golden = None
        if not skip_golden:
            golden = Artifact.open(folder).check_all_golden()
    size = sum(entry.bytes for entry in manifest.files.values())
    if json:
        print_json(
            {
                "schema": manifest.schema,
                "files": len(manifest.files),
                "bytes": size,
                "golden_prompts": golden,
                "signature": "valid" if key else "unchecked" if is_signed(folder) else "none",
            }
        )
        return
    answers = (
        "not played" if golden is None else f"{golden} of {len(manifest.golden)} answered as listed"
    )
    result_console().print(
        f"manifest: schema {manifest.schema}, every value in range\n"
        f"files: {len(manifest.files)}, {size:,} bytes, sizes and sha256 as listed, nothing else\n"
        f"golden prompts: {answers}\n"
        f"signature: {signature}"
    )


def install(
    source: Annotated[
        str, typer.Argument(help="Artifact folder, or its https:// or file:// address.")
    ],
    store: StoreArgument,
    key: TrustedKeyOption = None,
    keep: Annotated[
        int, typer.Option("--keep", min=0, help="Versions before this one to keep for rollback.")
    ] = 2,
    skip_golden: SkipGoldenOption = False,
    json: JsonOption = False,
) -> None:
    """Fetch an artifact, check it, and make it the store's current version in one step."""
    from escalade.cli.output import note_console, print_json, progress_bar, result_console
    from escalade.edge.artifact import read_manifest
    from escalade.edge.generation import Artifact
    from escalade.edge.store import install as install_artifact

    with progress_bar("fetching") as bar:
        done = install_artifact(
            source,
            store,
            trusted_key=key,
            keep=keep,
            check=read_manifest if skip_golden else Artifact.open,
            progress=bar,
            waiting=lambda: note_console().print(f"{store}: waiting for another installation"),
        )
    if json:
        print_json(done)
        return
    was = done.before[:12] if done.before else "nothing"
    result_console().print(
        f"{store}: current is {done.id[:12]}, was {was}\n"
        f"fetched {done.fetched_bytes:,} of {done.total_bytes:,} bytes; signature"
        f" {f'by {key}' if key else 'not checked'}"
    )


def rollback(
    store: StoreArgument,
    to: Annotated[
        str | None,
        typer.Option("--to", help="First characters of a version; default: the one before."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Make the version before the current one current again."""
    from escalade.cli.output import print_json, result_console
    from escalade.edge.store import Store

    before, now = Store(store).rollback(to)
    if json:
        print_json({"before": before, "current": now})
        return
    result_console().print(f"{store}: current is {now[:12]}, was {before[:12]}")


def versions(store: StoreArgument, json: JsonOption = False) -> None:
    """List a store's versions in the order they became current."""
    from escalade.cli.output import harmless, print_json, result_console
    from escalade.edge.store import Store

    found = Store(store).versions()
    if json:
        print_json(found)
        return
    for version in found:
        line = (
            f"{'*' if version.current else ' '} {version.id[:12]}  {version.model or '-'}"
            f"  {version.bytes:,} bytes  {version.created or '-'}"
            f"  {'signed' if version.signed else 'not signed'}"
            f"{f'  {version.problem}' if version.problem else ''}"
        )
        # Whoever wrote the manifest is not to move the reader's cursor.
        result_console().print(harmless(line))
