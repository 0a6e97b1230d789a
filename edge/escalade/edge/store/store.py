"""Keeps versions of an artifact and switches between them whole; knows no network, no runtime.

    STORE/current            a link to the version that clients open
    STORE/versions/SHA256/   one artifact, named by the sha256 of its manifest
    STORE/history            versions in the order they became current, one a line
    STORE/escalade.lock      held by whoever changes the store
    STORE/.partial/SHA256    what has come so far of a file with that digest

A version is built aside and renamed into place, and becomes current when a link is renamed
over the old one: whoever fails before that leaves the old version current, and a reader sees
one or the other. A client that has opened a version goes on with it, for files outlive their
names while they are open. POSIX only: this takes symbolic links and `flock`.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from escalade.edge.artifact import (
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    SIGNATURE_NAME,
    Manifest,
    parse_manifest,
    read_bounded,
    read_manifest,
)
from escalade.edge.base import atomic_write, check_replaceable, is_held, sync_folder
from escalade.edge.errors import ArtifactError, StoreError

CURRENT = "current"
_LOCK = "escalade.lock"
_CHANGED = f"{MANIFEST_NAME} was changed since it was installed"
_ID = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A version in a store."""

    #: sha256 of its manifest, as it was installed.
    id: str
    current: bool
    signed: bool
    #: Out of the manifest; empty where that cannot be read.
    model: str = ""
    created: str = ""
    bytes: int = 0
    #: What is wrong with the manifest; None where nothing is. Files are not read for this.
    problem: str | None = None


class Store:
    """A folder of versions, one of them current."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __contains__(self, version: str) -> bool:
        """Whether the version is there with every file whole; reads all of it."""
        path = self.path_of(version)
        try:
            return _id_of(path) == version and bool(read_manifest(path))
        except ArtifactError:
            return False

    def path_of(self, version: str) -> Path:
        """Where a version lies, or would."""
        return self.folder / "versions" / version

    @property
    def current(self) -> str | None:
        """The version that clients open; None in a new store."""
        try:
            return (self.folder / CURRENT).readlink().name
        except FileNotFoundError:
            return None

    @contextmanager
    def changing(self, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Make the folder a store if it is none, and change it as the only one who does.

        Args:
            waiting: called once if somebody else is at it; the call then waits.

        Raises:
            DataError: something else than a store is there.
            StoreError: in place of any OSError inside the block.
        """
        check_replaceable(self.folder, _LOCK)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / _LOCK).open("wb") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    waiting()
                    fcntl.flock(lock, fcntl.LOCK_EX)
                (self.folder / "versions").mkdir(exist_ok=True)
                yield
        except OSError as error:
            raise StoreError(
                f"{error.filename or self.folder}: {error.strerror or error};"
                " the current version is as it was"
            ) from error

    def empty(self, name: str) -> Path:
        """A new empty folder of that name; an old one goes with all it holds."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path

    def files(self) -> dict[str, Path]:
        """Every file that the manifests of all versions list, by the sha256 they give."""
        found = {}
        for folder in (self.folder / "versions").iterdir():
            try:
                manifest = _parse(folder)
            except ArtifactError:
                continue
            found.update({entry.sha256: folder / name for name, entry in manifest.files.items()})
        return found

    def add(self, built: Path, version: str) -> None:
        """Rename a folder that was built and checked into its place among the versions."""
        target = self.path_of(version)
        sync_folder(built)
        trash = self.empty(".trash")
        if target.exists():  # damaged, or nobody would have built it again
            target.replace(trash / version)
        built.replace(target)
        sync_folder(target.parent)
        shutil.rmtree(trash, ignore_errors=True)

    def make_current(self, version: str, *, keep: int) -> list[str]:
        """Let clients open this version from now on.

        Args:
            version: one that is there.
            keep: how many of those that were current before it stay, the latest ones; >= 0.

        Returns:
            The versions that were deleted: all others, but for what somebody holds.
        """
        past = [*(old for old in self._past() if old != version), version][-(keep + 1) :]
        with atomic_write(self.folder / "history") as stream:
            stream.write("".join(f"{line}\n" for line in past).encode())
        self._switch(version)
        return self._prune(past)

    def rollback(self, to: str | None = None) -> tuple[str, str]:
        """Make the version current that was so before this one; or an earlier or later one.

        Args:
            to: the first characters of a version in the history.

        Returns:
            The version that was current, and the one that is.

        Raises:
            ArtifactError: that version is damaged.
            StoreError: there is no such version, or no store.
        """
        before = self._need_current()
        with self.changing():
            choice = self._past()[:-1][-1:]
            if to is not None:
                choice = [version for version in self._history() if version.startswith(to)]
            if len(choice) != 1:
                wanted = "a version before it" if to is None else f"one version {to!r}..."
                known = ", ".join(version[:12] for version in self._history())
                raise StoreError(
                    f"{self.folder}: cannot go back from {before[:12]} to {wanted}:"
                    f" the history is {known}"
                )
            target = choice[0]
            read_manifest(self.path_of(target))
            if _id_of(self.path_of(target)) != target:
                raise ArtifactError(f"{self.path_of(target)}: {_CHANGED}")
            self._switch(target)
        return before, target

    def versions(self) -> list[Version]:
        """All versions, in the order they became current.

        Raises:
            StoreError: there is no store.
        """
        current, history = self._need_current(), self._history()
        there = {path.name for path in (self.folder / "versions").iterdir()}
        # First what is in no history: another deletion may have been cut short.
        return [self._describe(one, current) for one in [*sorted(there - set(history)), *history]]

    def _describe(self, version: str, current: str) -> Version:
        folder = self.path_of(version)
        signed = (folder / SIGNATURE_NAME).exists()
        found = Version(id=version, current=version == current, signed=signed)
        try:
            manifest = _parse(folder)
        except ArtifactError as error:
            return msgspec.structs.replace(found, problem=str(error))
        return msgspec.structs.replace(
            found,
            model=manifest.model.name,
            created=manifest.created,
            bytes=sum(entry.bytes for entry in manifest.files.values()),
            problem=None if _id_of(folder) == version else _CHANGED,
        )

    def _need_current(self) -> str:
        current = self.current
        if current is None:
            raise StoreError(f"{self.folder}: no store, or nothing was ever installed")
        return current

    def _history(self) -> list[str]:
        try:
            lines = (self.folder / "history").read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return []
        return [line for line in lines if _ID.fullmatch(line) and self.path_of(line).is_dir()]

    def _past(self) -> list[str]:
        """The history up to the current version: what was rolled back from is not in it."""
        history, current = self._history(), self.current
        return history[: history.index(current) + 1] if current in history else history

    def _switch(self, version: str) -> None:
        aside = self.folder / ".current"
        aside.unlink(missing_ok=True)
        aside.symlink_to(Path("versions") / version)
        aside.replace(self.folder / CURRENT)
        sync_folder(self.folder)

    def _prune(self, kept: Sequence[str]) -> list[str]:
        removed = []
        for path in sorted((self.folder / "versions").iterdir()):
            if path.name not in kept and not is_held(path):
                shutil.rmtree(path, ignore_errors=True)
                removed.append(path.name)
        return removed


def _id_of(folder: Path) -> str:
    raw = read_bounded(folder / MANIFEST_NAME, MAX_MANIFEST_BYTES)
    return hashlib.sha256(raw).hexdigest()


def _parse(folder: Path) -> Manifest:
    path = folder / MANIFEST_NAME
    return parse_manifest(read_bounded(path, MAX_MANIFEST_BYTES), path)
