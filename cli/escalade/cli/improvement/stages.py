"""Work in stages, in a folder: done once each, and gone on with after a cut; knows no stage.

`stages.json` says what the work is for, and of each stage that is done the sha256 of every file it
wrote. A stage whose files are there and whole is not done again; one whose files were changed is,
and all after it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from pathlib import Path

import msgspec

from escalade.cli.errors import CliError
from escalade.edge.base import atomic_write, pretty_json, sha256_of

STAGES_NAME = "stages.json"

Digests = dict[str, str]


class Work(msgspec.Struct, forbid_unknown_fields=True):
    """What `stages.json` holds."""

    #: What the stages were told, in plain values.
    wanted: dict[str, object]
    #: The version that was current when they began.
    before: str
    done: dict[str, Digests] = {}


class Stages:
    """The stages of one piece of work."""

    def __init__(self, folder: Path, work: Work, say: Callable[[str], None]) -> None:
        """Begin, or go on with, the work in a folder.

        Raises:
            CliError: it is other work.
        """
        self.folder, self._say = folder, say
        #: How far it is.
        self.work = read_work(folder) or work
        for name in ("wanted", "before"):
            was, is_ = getattr(self.work, name), getattr(work, name)
            if was != is_:
                raise CliError(
                    f"{folder}: holds the unfinished version of other settings: {_first(was, is_)};"
                    " put them back, or delete the folder to begin again"
                )

    def do(
        self,
        name: str,
        outputs: Sequence[str],
        make: Callable[[], None],
        *,
        but: Container[str] = (),
    ) -> None:
        """Do a stage unless it is done and whole.

        Args:
            name: of the stage.
            outputs: files and folders that it writes, relative to the folder.
            make: does it.
            but: names of files in them that a later stage writes.
        """
        done = self.work.done
        if name in done and _digests(self.folder, outputs, but) == done[name]:
            self._say(f"{name}: done before")
            return
        # This one, and what was made of it.
        names = list(done)
        for stale in names[names.index(name) :] if name in names else []:
            del done[stale]
        self._write()
        self._say(f"{name} ...")
        make()
        done[name] = _digests(self.folder, outputs, but)
        self._write()

    def _write(self) -> None:
        with atomic_write(self.folder / STAGES_NAME) as stream:
            stream.write(pretty_json(self.work))


def read_work(folder: Path) -> Work | None:
    """What a folder of stages says; None where none is done.

    Raises:
        CliError: it cannot be read.
    """
    path = folder / STAGES_NAME
    try:
        work = msgspec.json.decode(path.read_bytes(), type=Work)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise CliError(f"{path}: damaged: {error}; delete {folder} to begin again") from error
    return work if work.done else None


def _digests(folder: Path, outputs: Sequence[str], but: Container[str]) -> Digests:
    """Of all files at some places; a place where nothing is has none."""
    found: Digests = {}
    for output in outputs:
        place = folder / output
        files = sorted(one for one in place.rglob("*") if one.is_file()) if place.is_dir() else []
        if place.is_file():
            files = [place]
        found |= {
            str(one.relative_to(folder)): sha256_of(one) for one in files if one.name not in but
        }
    return found


def _first(was: object, is_: object) -> str:
    """The first place where two settings differ."""
    from escalade.training.tables import differences

    name, then, now = next(iter(differences(was, is_, "")))
    return f"{name or 'the current version'} was {then!r}, is {now!r}"
