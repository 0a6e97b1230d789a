"""Verifies an artifact's folder and loads its program; knows no text and no golden answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
from tokenizers import Tokenizer

from escalade.edge.artifact import (
    Checked,
    Manifest,
    Tokenizers,
    read_checked,
    shared_lock_if_possible,
)
from escalade.edge.deferral import EMBEDDING, DeferralRule, KernelsChoice
from escalade.edge.errors import ArtifactError
from escalade.edge.runtimes import Runtime, open_runtime, threads_of


class Opened(NamedTuple):
    """What an artifact is made of; see `Artifact`."""

    folder: Path
    manifest: Manifest
    runtime: Runtime
    tokenizer: Tokenizer | None
    rule: DeferralRule
    chat_template: str | None


@contextmanager
def checked_folder(
    folder: Path,
    *,
    max_memory: int | None,
    trusted_key: Path | None,
    tokenizers: Tokenizers | None,
) -> Iterator[tuple[Path, Checked]]:
    """The version that a folder leads to, which stays while its program is loaded, verified.

    Arguments and errors are those of `Artifact.open`.
    """
    if not folder.is_dir():
        kind = "file" if folder.suffix == ".toml" else "folder"
        raise ArtifactError(f"{folder}: not an artifact: there is no such {kind}")
    # Where the folder is a store's link, it may lead to another version any moment.
    with shared_lock_if_possible(folder) as version:
        yield (
            version,
            read_checked(
                version, max_memory=max_memory, trusted_key=trusted_key, tokenizers=tokenizers
            ),
        )


def opened(
    folder: Path,
    *,
    threads: int,
    max_memory: int | None,
    trusted_key: Path | None,
    tokenizers: Tokenizers | None,
    kernels: KernelsChoice | None,
) -> Opened:
    """An artifact with its program loaded; arguments and errors are those of `Artifact.open`."""
    computing = threads_of(threads)
    with checked_folder(
        folder, max_memory=max_memory, trusted_key=trusted_key, tokenizers=tokenizers
    ) as (version, checked):
        manifest = checked.manifest
        if kernels is not None:
            chosen = msgspec.UNSET if kernels == "portable" else kernels
            deferral = msgspec.structs.replace(manifest.deferral, kernels=chosen)
            manifest = msgspec.structs.replace(manifest, deferral=deferral)
        if manifest.embedding:
            raise ArtifactError(
                f"{folder}: a sentence encoder, which answers nothing; a gate of rule"
                f" {EMBEDDING!r} names one as its encoder"
            )
        return Opened(
            version,
            manifest,
            open_runtime(version, manifest, threads=computing),
            checked.tokenizer,
            checked.rule,
            checked.chat_template,
        )
