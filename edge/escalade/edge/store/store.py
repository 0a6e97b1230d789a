"""Keeps versions of an artifact and switches between them whole; knows no network, no runtime.

    STORE/current            a link to the version that clients open
    STORE/versions/SHA256/   one artifact, named by the sha256 of its manifest
    STORE/history            versions in the order they became current, one a line
    STORE/escalade.lock      held for a moment by whoever changes any of this
    STORE/.partial-XXXX/     where an installation builds a version (`staging`)

A version is built aside and renamed into place, and becomes current when a link is renamed
over the old one: whoever fails before that leaves the old version current, and a reader sees
one or the other. A client that has opened a version goes on with it, for files outlive their
names while they are open. POSIX only: this takes symbolic links and `flock`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from escalade.edge.artifact import Manifest, load_manifest, read_manifest
from escalade.edge.base import (
    Clock,
    SystemClock,
    atomic_write,
    exchange,
    is_held,
    shared_lock,
    sync_folder,
)
from escalade.edge.errors import ArtifactError, StoreError
from escalade.edge.store.lock import locked
from escalade.edge.store.version import CHANGED, Version, id_of, version_in

CURRENT = "current"
#: How the names of folders begin in which versions are built.
PARTIAL = ".partial"
_HISTORY = "history"
# How many versions a message lists.
_SHOWN = 8
_ID = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Store:
    """A folder of versions, one of them current."""

    def __init__(self, folder: Path, *, clock: Clock | None = None) -> None:
        self.folder = folder
        self._clock = clock or SystemClock()

    def __contains__(self, version: str) -> bool:
        """Whether the version is there with every file whole; reads all of it."""
        path = self.path_of(version)
        try:
            return id_of(path) == version and bool(read_manifest(path))
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

    @property
    def previous(self) -> str | None:
        """The version that was current before, and that `rollback` goes back to; None: none."""
        past = self._past()[:-1]
        return past[-1] if past else None

    @contextmanager
    def changing(self, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Make the folder a store if it is none, and change it as the only one who does.

        Args:
            waiting: called once if somebody else is at it; the call then waits, for so long as
                changes take.

        Raises:
            DataError: something else than a store is there.
            StoreError: somebody else does not come to an end; or in place of any OSError inside
                the block.
        """
        with locked(self.folder, waiting, self._clock):
            (self.folder / "versions").mkdir(exist_ok=True)
            yield

    def files(self) -> dict[str, Path]:
        """Every file that the manifests of all versions list, by the sha256 they give."""
        found = {}
        for folder in (self.folder / "versions").iterdir():
            try:
                manifest = load_manifest(folder)
            except ArtifactError:
                continue
            found.update({entry.sha256: folder / name for name, entry in manifest.files.items()})
        return found

    def add(self, built: Path, version: str) -> None:
        """Rename a folder that was built and checked into its place among the versions.

        One that is there already is damaged, or somebody was quicker: it takes the other's place.
        """
        target = self.path_of(version)
        sync_folder(built)
        if not (target.exists() and exchange(built, target)):
            if target.exists():
                target.replace(built.with_name("replaced"))
            built.replace(target)
        sync_folder(target.parent)

    def make_current(self, version: str, *, keep: int) -> list[str]:
        """Let clients open this version from now on.

        Args:
            version: one that is there.
            keep: how many of those that were current before it stay, the latest ones; >= 0.

        Returns:
            The versions that were deleted: all others, but for what somebody holds.
        """
        past = [*(old for old in self._past() if old != version), version][-(keep + 1) :]
        with atomic_write(self.folder / _HISTORY) as stream:
            stream.write("".join(f"{line}\n" for line in past).encode())
        self._switch(version)
        removed = self._prune(past)
        self._sweep()
        return removed

    def rollback(
        self, to: str | None = None, *, waiting: Callable[[], None] = lambda: None
    ) -> tuple[str, str]:
        """Make the version current that was so before this one; or an earlier or later one.

        Args:
            to: the first characters of a version in the history.
            waiting: see `changing`.

        Returns:
            The version that was current, and the one that is.

        Raises:
            ArtifactError: that version is damaged.
            StoreError: there is no such version, or no store; or see `changing`.
        """
        target = self._chosen(to)
        with shared_lock(self.path_of(target)) as folder:
            if id_of(folder) != target:
                raise ArtifactError(f"{folder}: {CHANGED}")
            read_manifest(folder)
            with self.changing(waiting):
                if self._chosen(to) != target:
                    raise StoreError(f"{self.folder}: was changed meanwhile; run again")
                before = self._need_current()
                self._switch(target)
        return before, target

    def _chosen(self, to: str | None) -> str:
        """The version to go back to, or to."""
        current, history = self._need_current(), self._history()
        if to is None:
            if (previous := self.previous) is None:
                raise StoreError(
                    f"{self.folder}: there is no version before the current one, {current[:12]}"
                )
            return previous
        found = [version for version in history if version.startswith(to)]
        if len(found) != 1:
            shown = ", ".join(version[:12] for version in history[-_SHOWN:])
            raise StoreError(
                f"{self.folder}: --to must be the first characters of one version, got"
                f" {to[:80]!r}, which begins {len(found)}; there are {shown}"
            )
        return found[0]

    def versions(self, trusted_key: Path | None = None) -> list[Version]:
        """All versions, in the order they became current.

        Args:
            trusted_key: a public key; says of each whether it has signed it.

        Raises:
            StoreError: there is no store.
            SignatureError: the key cannot be used.
        """
        current, history = self._need_current(), self._history()
        there = {path.name for path in (self.folder / "versions").iterdir()}
        # First what is in no history: another deletion may have been cut short.
        return [
            version_in(self.path_of(one), current=one == current, trusted_key=trusted_key)
            for one in [*sorted(there - set(history)), *history]
        ]

    def manifest_of(self, version: str) -> Manifest:
        """The manifest of a version; its files are not looked at.

        Raises:
            ArtifactError: it cannot be read.
        """
        return load_manifest(self.path_of(version))

    def _need_current(self) -> str:
        current = self.current
        if current is None:
            raise StoreError(f"{self.folder}: no store, or nothing was ever installed")
        return current

    def _history(self) -> list[str]:
        try:
            lines = (self.folder / _HISTORY).read_text(errors="replace").splitlines()
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

    def _sweep(self) -> None:
        """Delete what others left who failed or were killed, and what nobody goes on with."""
        for pattern in (f"{PARTIAL}*", f".{_HISTORY}.*"):
            for path in self.folder.glob(pattern):
                if not path.is_dir():
                    path.unlink(missing_ok=True)
                elif not is_held(path):
                    shutil.rmtree(path, ignore_errors=True)

    def _prune(self, kept: Sequence[str]) -> list[str]:
        removed = []
        for path in sorted((self.folder / "versions").iterdir()):
            if path.name not in kept and not is_held(path):
                shutil.rmtree(path, ignore_errors=True)
                removed.append(path.name)
        return removed
