"""Checks an artifact and reads all of it but its program; knows no runtime."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from tokenizers import Tokenizer

from escalade.edge.artifact.integrity import read_bounded
from escalade.edge.artifact.manifest import (
    TOKENIZER_NAME,
    Manifest,
    check_files,
    load_manifest,
)
from escalade.edge.artifact.memory import (
    MemoryNeeded,
    memory_at_least,
    memory_needed,
    memory_of_all,
    memory_to_begin,
)
from escalade.edge.base import shared_lock
from escalade.edge.deferral import DeferralRule, rule_of
from escalade.edge.errors import ArtifactError
from escalade.edge.memory import return_large_blocks

# The longest published chat templates, with tools and documents, take 20 KB.
_MAX_TEMPLATE_BYTES = 1 << 18
# Of a tokenizer's file: below, what stays of having read it is too little to count.
_LARGE_BYTES = 1 << 20

#: Tokenizers that models share, by the sha256 of their file and the window that texts are cut to; 0
#: where they are not.
Tokenizers = dict[tuple[str, int], Tokenizer]


class Checked(NamedTuple):
    """What is known of an artifact before its program is loaded."""

    manifest: Manifest
    #: None of a linear classifier.
    tokenizer: Tokenizer | None
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


def read_checked(
    folder: Path,
    *,
    max_memory: int | None,
    trusted_key: Path | None,
    tokenizers: Tokenizers | None = None,
) -> Checked:
    """Check the signature, the memory that the model will take, and every file.

    Whatever is parsed on the way has been judged before by the memory that it takes.

    Args:
        folder: the artifact.
        max_memory: bytes; None sets no bound.
        trusted_key: public key (PEM); None asks for no signature.
        tokenizers: those that are there already; one that is not is added.

    Raises:
        ArtifactError: a file is missing, altered or cannot be read, or the model needs more
            memory.
        SignatureError: the manifest is not signed by the trusted key.
    """
    return_large_blocks()
    manifest = _trusted_manifest(folder, max_memory, trusted_key)
    if max_memory is not None:
        _judged(folder, manifest, max_memory, signed=trusted_key is not None)
    check_files(folder, manifest)
    if TOKENIZER_NAME in manifest.files and manifest.files[TOKENIZER_NAME].bytes >= _LARGE_BYTES:
        # Of the objects that it was fingerprinted by Python keeps some to be used again, here and
        # there in all that they took (of SmolLM2's 7 MB), until all are looked through: 11 ms.
        gc.collect()
    return Checked(
        manifest,
        None if manifest.linear else _tokenizer(folder, manifest, tokenizers),
        _read_template(folder, manifest),
        rule_of(folder, manifest.deferral),
    )


def memory_of(folder: Path, *, max_memory: int, trusted_key: Path | None) -> MemoryNeeded:
    """What an artifact will take, and no more than a bound.

    Its signature is checked; its files are not held against the manifest.

    Raises:
        ArtifactError: it takes more, or see `load_manifest` and `memory_needed`.
        SignatureError: the manifest is not signed by the trusted key.
    """
    with shared_lock_if_possible(folder) as version:
        manifest = _trusted_manifest(version, max_memory, trusted_key)
        return _judged(version, manifest, max_memory, signed=trusted_key is not None)


def _trusted_manifest(folder: Path, max_memory: int | None, trusted_key: Path | None) -> Manifest:
    if max_memory is not None:
        least = memory_to_begin(folder, signed=trusted_key is not None)
        if least > max_memory:
            raise ArtifactError(
                f"{folder}: needs {least} bytes of memory to be opened at all, may take at most"
                f" {max_memory}"
            )
    if trusted_key is not None:
        from escalade.edge.artifact.signing import check_signature

        check_signature(folder, trusted_key)
    return load_manifest(folder)


def _judged(folder: Path, manifest: Manifest, max_memory: int, *, signed: bool) -> MemoryNeeded:
    # The sizes first: the tokenizer is read to be judged.
    for judge in (memory_at_least, memory_needed):
        needed = judge(folder, manifest)
        total = memory_of_all([needed.total], signed=signed)
        if total > max_memory:
            raise ArtifactError(
                f"{folder}: needs {total} bytes of memory (weights {needed.weights}, cache"
                f" {needed.cache}, working {total - needed.weights - needed.cache}), may take at"
                f" most {max_memory}"
            )
    return needed


def _tokenizer(folder: Path, manifest: Manifest, known: Tokenizers | None) -> Tokenizer:
    known = {} if known is None else known
    # Who reads a text in one piece sets its tokenizer to cut it.
    window = manifest.model.window if manifest.reads_once else 0
    key = manifest.files[TOKENIZER_NAME].sha256, window
    if key not in known:
        known[key] = _read_tokenizer(folder / TOKENIZER_NAME)
    return known[key]


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
