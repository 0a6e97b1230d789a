"""Writes what calibration found into an artifact, a router with it; knows no query."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from escalade.edge.artifact import (
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    Manifest,
    file_entry,
    parse_manifest,
    read_bounded,
    write_manifest,
)
from escalade.edge.base import atomic_folder, exclusive_lock, sha256_of
from escalade.edge.deferral import DeferralEntry, DeferralRule, Router, Seen, write_seen
from escalade.edge.errors import CalibrationError
from escalade.edge.generation import Artifact

_ROUTER_FILE, PROMPTS_FILE = "router.json", "router.prompts"


def write_deferral(
    artifact: Artifact, deferral: DeferralEntry, rule: DeferralRule, seen: Seen | None
) -> Manifest:
    """Write the manifest, and a router with it: a reader sees all of the old or all of the new.

    Args:
        artifact: as it was opened.
        deferral: what the manifest is to say.
        rule: of it.
        seen: what a new router has learned from; None keeps what is there.

    Raises:
        CalibrationError: the folder is an installed version, or has other files by now.
    """
    # Where a link leads may change meanwhile, and a link is not swapped like a folder.
    folder, manifest = artifact.folder.resolve(), artifact.manifest
    if folder.name == sha256_of(folder / MANIFEST_NAME):
        raise CalibrationError(
            f"{folder}: an installed version, known by its content; calibrate the artifact and"
            " install that, or calibrate a copy"
        )
    with exclusive_lock(folder.parent):  # the folder itself may be another one in a moment
        path = folder / MANIFEST_NAME
        now = parse_manifest(read_bounded(path, MAX_MANIFEST_BYTES), path)
        if now.files != manifest.files:
            raise CalibrationError(
                f"{folder}: was changed while it was calibrated; calibrate again"
            )
        old = manifest.deferral
        if isinstance(rule, Router) and seen is None:
            deferral = msgspec.structs.replace(deferral, router=old.router)
        if seen is None and deferral.router == old.router:
            manifest = msgspec.structs.replace(manifest, deferral=deferral)
            write_manifest(folder, manifest)
            return manifest
        gone = {*old.files, MANIFEST_NAME}
        with atomic_folder(folder, marker=MANIFEST_NAME) as aside:
            for path in folder.iterdir():
                if path.name not in gone and not path.name.startswith("."):
                    _link(path, aside / path.name)
            files = {name: entry for name, entry in manifest.files.items() if name not in gone}
            if isinstance(rule, Router) and seen is not None:
                rule.save(aside / _ROUTER_FILE)
                write_seen(aside / PROMPTS_FILE, seen)
                for name in (_ROUTER_FILE, PROMPTS_FILE):
                    files[name] = file_entry(aside / name)
                deferral = msgspec.structs.replace(deferral, router=_ROUTER_FILE)
            manifest = msgspec.structs.replace(manifest, deferral=deferral, files=files)
            write_manifest(aside, manifest)
    return manifest


def _link(old: Path, new: Path) -> None:
    """Give a file a second name; on a file system without such, a second copy."""
    try:
        new.hardlink_to(old)
    except OSError:
        shutil.copyfile(old, new)
