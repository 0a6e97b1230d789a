"""Writes what calibration found into a `cascade.toml`, comments and layout kept; knows no query."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from escalade.edge.artifact import MANIFEST_NAME
from escalade.edge.base import atomic_write, exclusive_lock, read_text, sha256_of
from escalade.edge.cascade import Cascade
from escalade.edge.cascade_file import (
    MAX_CASCADE_BYTES,
    CascadeFile,
    GateTable,
    MemberTable,
    TierTable,
    addressed_members,
    encoder_of,
    member_tables,
    read_cascade_file,
)
from escalade.edge.deferral import CascadeCalibration, SamplesEntry
from escalade.edge.errors import CalibrationError
from escalade.edge.generation import Artifact
from escalade.edge.tiers import RemoteEnsembleTier, Tier

if TYPE_CHECKING:
    from tomlkit.items import Item, Table


def write_calibration(
    path: Path, content: CascadeFile, cascade: Cascade, calibration: CascadeCalibration
) -> None:
    """Write thresholds, who the members are, and how it was found; all of it or nothing.

    Args:
        path: the cascade's file.
        content: what it said when the cascade was opened.
        cascade: opened from it.
        calibration: of it.

    Raises:
        CascadeError: the file cannot be read any more.
        CalibrationError: it was changed meanwhile, or its layout is one that cannot be kept.
        DataError: it cannot be written.
    """
    wanted = _calibrated(path.parent, content, cascade, calibration)
    # One at a time in its folder, so that none overwrites what another just wrote.
    with exclusive_lock(path.resolve().parent):
        if read_cascade_file(path, calibrated=False) != content:
            raise CalibrationError(f"{path}: was changed while it was calibrated; calibrate again")
        _write(path, wanted, calibration)


def manifests_of(cascade: Cascade) -> list[str]:
    """Who the members are: SHA-256 of each one's manifest, in order; empty of one elsewhere."""
    found: list[str] = []
    for tier in cascade.tiers:
        if isinstance(tier, RemoteEnsembleTier):
            found += [""] * len(tier.weights)
        else:
            found += [sha256_of(one.folder / MANIFEST_NAME) for one in _artifacts_of(tier)]
    return found


def member_weights_of(cascade: Cascade) -> list[float]:
    """The weights of the members, those elsewhere too, in order; samples are of one."""
    found: list[float] = []
    for tier in cascade.tiers:
        if isinstance(tier, RemoteEnsembleTier):
            found += tier.weights
        else:
            found += {one.artifact: one.info.weight for one in tier.opened}.values()
    return found


def samples_of(cascade: Cascade) -> list[SamplesEntry]:
    """Which tiers draw how."""
    return [
        SamplesEntry(
            tier=place,
            samples=len(tier.opened),
            temperature=draw.sampling.temperature,
            seed=draw.sampling.seed,
        )
        for place, tier in enumerate(cascade.tiers)
        if tier.opened and (draw := tier.opened[0].draw) is not None
    ]


def _write(path: Path, wanted: CascadeFile, calibration: CascadeCalibration) -> None:
    import tomlkit

    with path.open("rb") as stream:
        document = tomlkit.parse(read_text(stream, path, MAX_CASCADE_BYTES))
    for raw, table in zip(document["tiers"], wanted.tiers, strict=True):
        _change(raw, table)
    document["calibration"] = _table(msgspec.to_builtins(calibration))
    text = document.as_string()
    if msgspec.convert(tomllib.loads(text), CascadeFile) != wanted:
        raise CalibrationError(
            f"{path}: its layout cannot be kept; write each tier as a table under [[tiers]]"
        )
    with atomic_write(path) as stream:
        stream.write(text.encode())


def _calibrated(
    folder: Path, content: CascadeFile, cascade: Cascade, calibration: CascadeCalibration
) -> CascadeFile:
    """What the file is to say."""
    thresholds = [*calibration.thresholds, None]
    tiers = [
        _tier(folder, table, tier, tau)
        for table, tier, tau in zip(content.tiers, cascade.tiers, thresholds, strict=True)
    ]
    return msgspec.structs.replace(content, tiers=tiers, calibration=calibration)


def _tier(folder: Path, table: TierTable, tier: Tier, threshold: float | None) -> TierTable:
    # Those elsewhere are as they were written: their addresses have no manifest.
    members: list[str | MemberTable] = [
        *addressed_members(table),
        *(
            msgspec.structs.replace(
                entry, manifest_sha256=sha256_of(artifact.folder / MANIFEST_NAME)
            )
            for entry, artifact in zip(member_tables(table), _artifacts_of(tier), strict=True)
        ),
    ]
    gate, encoder = table.gate, encoder_of(table)
    if gate is not None and encoder is not None:
        pin = sha256_of(folder / encoder.artifact / MANIFEST_NAME)
        pinned = msgspec.structs.replace(encoder, manifest_sha256=pin)
        gate = msgspec.structs.replace(gate, encoder=pinned)
    if threshold is not None:
        gate = msgspec.structs.replace(gate or GateTable(), threshold=threshold)
    return msgspec.structs.replace(table, members=members, gate=gate)


def _artifacts_of(tier: Tier) -> list[Artifact]:
    """A tier's artifacts, each once, however often it speaks."""
    return list(dict.fromkeys(member.artifact for member in tier.opened))


def _change(raw: Table, table: TierTable) -> None:
    """Say in a tier of the document what is to be said; everything else stays."""
    import tomlkit

    if table.gate is not None:
        if "gate" not in raw:
            raw["gate"] = tomlkit.inline_table()
        raw["gate"]["threshold"] = table.gate.threshold
        if isinstance(encoder := table.gate.encoder, MemberTable):
            if isinstance(raw["gate"]["encoder"], str):
                raw["gate"]["encoder"] = _inline({"artifact": encoder.artifact})
            raw["gate"]["encoder"]["manifest_sha256"] = encoder.manifest_sha256
    for index, member in enumerate(table.members):
        entries = raw["members"]
        assert isinstance(member, MemberTable)  # noqa: S101 - `_tier` made it one
        if member.address:
            continue
        if isinstance(entries[index], str):
            entries[index] = _inline({"artifact": member.artifact})
        entries[index]["manifest_sha256"] = member.manifest_sha256


def _table(values: Mapping[str, object]) -> Table:
    """A table with tables below it; None is left out, for TOML has none."""
    import tomlkit

    made = tomlkit.table()
    for name, value in values.items():
        if isinstance(value, Mapping):
            made[name] = _inline(value) if name == "goal" else _table(value)
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            made[name] = tomlkit.array().multiline(True)
            for one in value:
                made[name].append(_inline(one))
        elif value is not None:
            made[name] = value
    return made


def _inline(values: Mapping[str, object]) -> Item:
    import tomlkit

    made = tomlkit.inline_table()
    made.update(values)
    return made
