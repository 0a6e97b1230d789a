"""Checks an artifact and reads all of it but its program; knows no runtime."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from tokenizers import Tokenizer

from escalade.edge.artifact.integrity import read_bounded
from escalade.edge.artifact.manifest import TOKENIZER_NAME, Manifest, read_manifest
from escalade.edge.artifact.memory import memory_needed
from escalade.edge.base import shared_lock
from escalade.edge.deferral import DeferralRule, rule_of
from escalade.edge.errors import ArtifactError

# The longest published chat templates, with tools and documents, take 20 KB.
_MAX_TEMPLATE_BYTES = 1 << 18


class Checked(NamedTuple):
    """What is known of an artifact before its program is loaded."""

    manifest: Manifest
    tokenizer: Tokenizer
    #: Jinja; None where the model has none.
    chat_template: str | None
    #: What the manifest says of deferral, a router with its weights.
    rule: DeferralRule


@contextmanager
def shared_lock_if_possible(folder: Path) -> Iterator[Path]:
    """As `shared_lock`; where there are no locks, only the folder with all links followed.

    Windows has none, nor have some network file systems. A store is not kept there either, so
    nobody would ask.

    Raises:
        DataError: there is no such folder.
    """
    with ExitStack() as stack:
        try:
            path = stack.enter_context(shared_lock(folder))
        except (ImportError, OSError):  # no fcntl; ENOLCK, ENOTSUP
            path = folder.resolve()
        yield path


def read_checked(folder: Path, *, max_memory: int | None, trusted_key: Path | None) -> Checked:
    """Check the signature, every file, and the memory that the model will take.

    Args:
        folder: the artifact.
        max_memory: bytes; None sets no bound.
        trusted_key: public key (PEM); None asks for no signature.

    Raises:
        ArtifactError: a file is missing, altered or cannot be read, or the model needs more
            memory.
        SignatureError: the manifest is not signed by the trusted key.
    """
    if trusted_key is not None:
        from escalade.edge.artifact.signing import check_signature

        check_signature(folder, trusted_key)
    manifest = read_manifest(folder)
    if max_memory is not None:
        _check_memory(folder, manifest, max_memory)
    return Checked(
        manifest,
        _read_tokenizer(folder / TOKENIZER_NAME),
        _read_template(folder, manifest),
        rule_of(folder, manifest.deferral),
    )


def _read_tokenizer(path: Path) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        raise ArtifactError(f"{path}: cannot be read: {error}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _read_template(folder: Path, manifest: Manifest) -> str | None:
    if manifest.model.chat is None:
        return None
    path = folder / manifest.model.chat.template
    try:
        return read_bounded(path, _MAX_TEMPLATE_BYTES).decode()
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{path}: not UTF-8: {error}") from error


def _check_memory(folder: Path, manifest: Manifest, max_memory: int) -> None:
    needed = memory_needed(manifest)
    if needed.total > max_memory:
        raise ArtifactError(
            f"{folder}: needs {needed.total} bytes of memory (weights {needed.weights}, cache"
            f" {needed.cache}, working {needed.working}), may take at most {max_memory}"
        )
