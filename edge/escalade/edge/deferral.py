"""What a manifest says of deferral: rule, threshold, how they were calibrated; knows no runtime."""

from __future__ import annotations

import msgspec


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A JSON object whose keys are all known."""


class CalibrationEntry(Table, frozen=True, kw_only=True):
    """How the threshold was found."""

    data: str
    data_sha256: str
    n: int
    target_deferral_rate: float
    achieved_deferral_rate: float
    #: Wilson score interval of the deferral rate on queries from the same source.
    interval: tuple[float, float]
    confidence: float
    date: str


class DeferralEntry(Table, frozen=True, kw_only=True):
    """The deferral rule and its threshold tau; None until calibrated."""

    rule: str = "mean"
    threshold: float | None = None
    calibration: CalibrationEntry | None = None
