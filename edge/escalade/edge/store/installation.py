"""Brings a new version of an artifact into a store; knows no runtime.

The order is what makes it safe: signature before anything else is fetched, sizes before the
first byte, digests before a file counts as there, the whole artifact before it is current.
The store is locked while versions are switched, not while files come.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import msgspec

from escalade.edge.artifact import (
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    MAX_SIGNATURE_BYTES,
    SIGNATURE_NAME,
    Manifest,
    check_signature,
    is_signed,
    parse_manifest,
    read_manifest,
)
from escalade.edge.base import atomic_write, sha256_of, shared_lock
from escalade.edge.errors import ArtifactError, DataError, SignatureError, StoreError
from escalade.edge.store.age import is_older
from escalade.edge.store.download import fetch, fetch_small
from escalade.edge.store.lock import failing
from escalade.edge.store.sources import Source, source_at
from escalade.edge.store.staging import ARTIFACT, staging_in
from escalade.edge.store.store import Store

#: How many versions before the new one stay, unless the caller says otherwise.
KEPT_BEFORE = 2

_READ_ONLY = 0o444

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
    allow_older: bool = False,
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
        allow_older: take one that was made before the current version, too.
        check: called with the new version's folder before it becomes current; what it raises
            stops the installation. `Artifact.open` plays a golden prompt too.
        progress: called as bytes come.
        waiting: see `Store.changing`.

    Raises:
        ArtifactError: the artifact is not whole, or `check` refused it.
        SignatureError: it is not signed by the trusted key.
        StoreError: it cannot be fetched, the disk is full, it is older than the current version,
            or the store is being changed by somebody who does not come to an end.
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
    with failing(store.folder), ExitStack() as stack:
        if not allow_older:
            _refuse_older(manifest, source, store)
        there = _held_version(store, version, stack)
        if there is not None:
            if trusted_key is not None or not is_signed(there):
                _write(there, SIGNATURE_NAME, signature)
            check(there)
        else:
            digests = {entry.sha256 for entry in manifest.files.values()}
            staging = stack.enter_context(staging_in(store, digests, waiting))
            fetched = _fetch_files(source, manifest, store, staging, progress)
            _write(staging / ARTIFACT, MANIFEST_NAME, raw)
            _write(staging / ARTIFACT, SIGNATURE_NAME, signature)
            check(staging / ARTIFACT)
        with store.changing(waiting):
            before = store.current
            if not allow_older:  # again: another may have been installed meanwhile
                _refuse_older(manifest, source, store)
            if there is None:
                store.add(staging / ARTIFACT, version)
                shutil.rmtree(staging, ignore_errors=True)
            removed = store.make_current(version, keep=keep)
    return Installed(
        id=version,
        before=before,
        fetched_bytes=fetched,
        total_bytes=manifest.total_bytes,
        signature_checked=trusted_key is not None,
        removed=removed,
    )


def _refuse_older(manifest: Manifest, source: Source, store: Store) -> None:
    if store.current is None:
        return
    try:
        now = store.manifest_of(store.current)
    except ArtifactError:  # damaged: whatever mends it is welcome
        return
    if is_older(manifest, now):
        raise StoreError(
            f"{source}: made at {manifest.created[:40]!r}, before the current version"
            f" {store.current[:12]}, made at {now.created[:40]!r}; `rollback` goes back,"
            " --allow-older installs it all the same"
        )


def _held_version(store: Store, version: str, stack: ExitStack) -> Path | None:
    """Where the version lies, kept from being deleted; None where it is not there, or not whole."""
    try:
        folder = stack.enter_context(shared_lock(store.path_of(version)))
    except DataError:
        return None
    return folder if version in store else None


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


def _fetch_files(
    source: Source, manifest: Manifest, store: Store, staging: Path, progress: Progress
) -> int:
    """Put every file of the manifest into the artifact; returns how many bytes were fetched."""
    total = manifest.total_bytes
    done = 0

    def received(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    # By digest: a file that the store has, or that two names share, comes once.
    known = store.files()
    missing = {}
    for name, entry in manifest.files.items():
        old = known.get(entry.sha256)
        if old is not None and _link_whole(old, staging / ARTIFACT / name, entry.sha256):
            received(entry.bytes)
        else:
            missing[entry.sha256] = name, entry.bytes
    there = sum(path.stat().st_size for path in staging.iterdir() if path.name in missing)
    needed = sum(size for _, size in missing.values()) - there
    free = shutil.disk_usage(store.folder).free
    if needed > free:
        raise StoreError(f"{store.folder}: {needed} more bytes are needed, {free} are free")
    for sha256, (name, size) in missing.items():
        fetch(source, name, size, sha256, staging / sha256, received)
    for name, entry in manifest.files.items():
        if entry.sha256 in missing:
            _link(staging / entry.sha256, staging / ARTIFACT / name)
    return sum(size for _, size in missing.values()) - there


def _link_whole(old: Path, new: Path, sha256: str) -> bool:
    """Give a version's file a second name, if it is whole; it may be deleted meanwhile."""
    with suppress(OSError):
        _link(old, new)
        if sha256_of(new) == sha256:
            return True
    new.unlink(missing_ok=True)
    return False


def _link(old: Path, new: Path) -> None:
    """Give a file a second name; on a file system without such, a second copy."""
    try:
        new.hardlink_to(old)
    except OSError:
        shutil.copyfile(old, new)
    if new.stat().st_mode & 0o777 != _READ_ONLY:
        new.chmod(_READ_ONLY)  # versions share files; nobody is to change one
