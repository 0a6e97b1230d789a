"""Brings a new version of an artifact into a store; knows no runtime.

The order is what makes it safe: signature before anything else is fetched, sizes before the
first byte, digests before a file counts as there, the whole artifact before it is current.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from escalade.edge.artifact import (
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    MAX_SIGNATURE_BYTES,
    SIGNATURE_NAME,
    Manifest,
    check_signature,
    parse_manifest,
    read_manifest,
)
from escalade.edge.base import atomic_write, sha256_of
from escalade.edge.errors import SignatureError, StoreError
from escalade.edge.store.download import fetch, fetch_small
from escalade.edge.store.sources import Source, source_at
from escalade.edge.store.store import Store

#: How many versions before the new one stay, unless the caller says otherwise.
KEPT_BEFORE = 2

_PARTIAL = ".partial"
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

#: Called with (bytes there, bytes in all).
Progress = Callable[[int, int], None]


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """What `install` did."""

    id: str
    #: The version that was current before; None in a new store.
    before: str | None
    #: Bytes that came from the source now; the others were in the store.
    fetched_bytes: int
    total_bytes: int
    #: Whether the signature was checked.
    signature_checked: bool
    #: Versions that were deleted.
    removed: list[str]


def install(
    place: str,
    folder: Path,
    *,
    trusted_key: Path | None = None,
    keep: int = KEPT_BEFORE,
    check: Callable[[Path], object] = read_manifest,
    progress: Progress = lambda done, total: None,
    waiting: Callable[[], None] = lambda: None,
) -> Installed:
    """Fetch an artifact, check it, and make it the current version of a store.

    Args:
        place: an artifact's folder, or the `https://` or `file://` address of one.
        folder: the store; made if it is not there.
        trusted_key: a public key; its signature is checked before anything but the manifest
            is fetched. None takes what the address gives.
        keep: how many versions before this one stay for `rollback`.
        check: called with the new version's folder before it becomes current; what it raises
            stops the installation. `Artifact.open` plays a golden prompt too.
        progress: called as bytes come.
        waiting: called once if somebody else is changing the store; the call then waits.

    Raises:
        ArtifactError: the artifact is not whole, or `check` refused it.
        SignatureError: it is not signed by the trusted key.
        StoreError: it cannot be fetched, or the disk is full.
        DataError: something else than a store is at `folder`.
    """
    if keep < 0:
        raise StoreError(f"keep must be 0 or more versions, got {keep}")
    source = source_at(place)
    raw = _fetch_optional(source, MANIFEST_NAME, MAX_MANIFEST_BYTES)
    if raw is None:
        raise StoreError(f"{source}: not an artifact: it has no {MANIFEST_NAME}")
    signature = _fetch_optional(source, SIGNATURE_NAME, MAX_SIGNATURE_BYTES)
    if trusted_key is not None:
        _check_signer(source, raw, signature, trusted_key)
    manifest = parse_manifest(raw, f"{source}/{MANIFEST_NAME}")
    version = hashlib.sha256(raw).hexdigest()
    store = Store(folder)
    fetched = 0
    with store.changing(waiting):
        before = store.current
        if version in store:
            there = store.path_of(version)
            if trusted_key is not None:
                _write(there, SIGNATURE_NAME, signature)
            check(there)
        else:
            with _staging(store) as staging:
                fetched = _fetch_files(source, manifest, store, staging, progress)
                _write(staging, MANIFEST_NAME, raw)
                _write(staging, SIGNATURE_NAME, signature)
                check(staging)
                store.add(staging, version)
        removed = store.make_current(version, keep=keep)
        shutil.rmtree(folder / _PARTIAL, ignore_errors=True)
    return Installed(
        id=version,
        before=before,
        fetched_bytes=fetched,
        total_bytes=sum(entry.bytes for entry in manifest.files.values()),
        signature_checked=trusted_key is not None,
        removed=removed,
    )


def _fetch_optional(source: Source, name: str, most_bytes: int) -> bytes | None:
    try:
        return fetch_small(source, name, most_bytes)
    except FileNotFoundError:
        return None


def _check_signer(source: Source, raw: bytes, signature: bytes | None, trusted_key: Path) -> None:
    if signature is None:
        raise SignatureError(f"{source}: not signed: it has no {SIGNATURE_NAME}")
    with tempfile.TemporaryDirectory() as scratch:
        _write(Path(scratch), MANIFEST_NAME, raw)
        _write(Path(scratch), SIGNATURE_NAME, signature)
        check_signature(Path(scratch), trusted_key)


def _write(folder: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        with atomic_write(folder / name) as stream:
            stream.write(content)


@contextmanager
def _staging(store: Store) -> Iterator[Path]:
    """A folder to build a version in; gone afterwards, whatever happened."""
    staging = store.empty(".staging")
    try:
        yield staging
    except OSError as error:
        if error.errno in _NO_ROOM:  # a full disk must not stay full of half an artifact
            shutil.rmtree(store.folder / _PARTIAL, ignore_errors=True)
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _fetch_files(
    source: Source, manifest: Manifest, store: Store, staging: Path, progress: Progress
) -> int:
    """Put every file of the manifest into `staging`; returns how many bytes had to be fetched."""
    total = sum(entry.bytes for entry in manifest.files.values())
    done = 0

    def received(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    # By digest: a file that the store has, or that two names share, comes once.
    known = store.files()
    partials = store.folder / _PARTIAL
    partials.mkdir(exist_ok=True)
    missing = {}
    for name, entry in manifest.files.items():
        old = known.get(entry.sha256)
        if old is not None and old.is_file() and sha256_of(old) == entry.sha256:
            _link(old, staging / name)
            received(entry.bytes)
        else:
            missing[entry.sha256] = name, entry.bytes
    there = sum(path.stat().st_size for path in partials.iterdir() if path.name in missing)
    needed = sum(size for _, size in missing.values()) - there
    free = shutil.disk_usage(store.folder).free
    if needed > free:
        raise StoreError(f"{store.folder}: {needed} more bytes are needed, {free} are free")
    for sha256, (name, size) in missing.items():
        fetch(source, name, size, sha256, partials / sha256, received)
    for name, entry in manifest.files.items():
        if entry.sha256 in missing:
            _link(partials / entry.sha256, staging / name)
            (staging / name).chmod(0o444)  # versions share files; nobody is to change one
    return sum(size for _, size in missing.values()) - there


def _link(old: Path, new: Path) -> None:
    """Give a file a second name; on a file system without such, a second copy."""
    try:
        new.hardlink_to(old)
    except OSError:
        shutil.copyfile(old, new)
