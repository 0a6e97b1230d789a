"""Which of two artifacts was made later, by what their manifests say; knows no store.

A signature says who made an artifact, not that it is the latest: whoever can answer for the
source could offer an old one, with the faults that the new one mended.
"""

from __future__ import annotations

import datetime

from escalade.edge.artifact import Manifest

_OLDEST = datetime.datetime.min.replace(tzinfo=datetime.UTC)


def is_older(one: Manifest, other: Manifest) -> bool:
    """Whether `one` was made before `other`: exported, or exported together and calibrated.

    A time that cannot be read counts as the oldest.
    """
    return _made(one) < _made(other)


def _made(manifest: Manifest) -> tuple[datetime.datetime, datetime.datetime]:
    calibration = manifest.deferral.calibration
    return _time(manifest.created), _time("" if calibration is None else calibration.date)


def _time(text: str) -> datetime.datetime:
    try:
        time = datetime.datetime.fromisoformat(text)
    except ValueError:
        return _OLDEST
    return time if time.tzinfo is not None else time.replace(tzinfo=datetime.UTC)
