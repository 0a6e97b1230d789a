"""Holds what a calibration says of a cascade against what its file says now; reads no file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from escalade.edge.cascade_file.tables import (
    GateTable,
    TierTable,
    all_members,
    encoder_of,
    samples_in,
)
from escalade.edge.deferral import CascadeCalibration
from escalade.edge.errors import CascadeError
from escalade.edge.policy import PolicyTable, content_sha256


def check_calibration(
    path: Path,
    calibration: CascadeCalibration,
    tiers: Sequence[TierTable],
    lower: Sequence[tuple[TierTable, str]],
    policy: PolicyTable | None,
) -> None:
    """Hold what was found against what stands there now: it is said, or promised, of no other.

    Args:
        path: the file.
        calibration: what it says of its calibration.
        tiers: all.
        lower: all but the last, with what each is called.
        policy: what may leave.

    Raises:
        CascadeError: they are of each other no more.
    """
    if len(calibration.thresholds) != len(lower):
        raise CascadeError(
            f"{path}: calibration.thresholds: must be {len(lower)}, one for each tier but the last,"
            f" got {len(calibration.thresholds)}"
        )
    for (table, name), rule, tau in zip(
        lower, calibration.rules, calibration.thresholds, strict=True
    ):
        gate = table.gate or GateTable()
        if gate.threshold != tau or gate.rule not in {None, rule}:
            raise CascadeError(
                f"{path}: tier {name!r}: gate: must have threshold {tau} under rule {rule!r}, which"
                f" calibration is of, got {gate.threshold} under {gate.rule or rule!r}; calibrate"
                " again, or take out [calibration]"
            )
    _check_members(path, calibration, tiers)
    of = "" if calibration.policy is None else calibration.policy.content_sha256
    if content_sha256(policy) != of:
        raise CascadeError(
            f"{path}: policy: stay_patterns, stay_tasks, redact or when_unknown are not those that"
            " calibration is of; calibrate again, or take out [calibration]"
        )


def _check_members(path: Path, calibration: CascadeCalibration, tiers: Sequence[TierTable]) -> None:
    pins = [
        "" if one.address else one.manifest_sha256 for table in tiers for one in all_members(table)
    ]
    if pins != calibration.members:
        raise CascadeError(
            f"{path}: tiers: members, or their manifest_sha256, are not those that calibration is"
            " of; calibrate again, or take out [calibration]"
        )
    encoders = [one for table in tiers if (one := encoder_of(table)) is not None]
    if any(one.manifest_sha256 is None for one in encoders):
        raise CascadeError(
            f"{path}: tiers: gate.encoder has no manifest_sha256, which calibration gave it;"
            " calibrate again, or take out [calibration]"
        )
    weights = [one.weight for table in tiers for one in all_members(table)]
    if weights != (calibration.weights or [1.0] * len(weights)):
        raise CascadeError(
            f"{path}: tiers: members' weights are {weights}, not those that calibration is of;"
            " calibrate again, or take out [calibration]"
        )
    if samples_in(tiers) != calibration.samples:
        raise CascadeError(
            f"{path}: tiers: samples, temperature or seed are not those that calibration is of;"
            " calibrate again, or take out [calibration]"
        )
