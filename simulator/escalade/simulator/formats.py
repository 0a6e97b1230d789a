"""Numbers and tables as people read them; knows no result, no terminal and no page."""

from __future__ import annotations

import math
from typing import NamedTuple

_PREFIXES = ("", "k", "M", "G", "T", "P")
# From so many seconds on a measured time is in hours, and from so many on in days.
_HOURS_FROM_S, _DAYS_FROM_S = 1e4, 3.6e5
_MINUS = "\N{MINUS SIGN}"


class Cell(NamedTuple):
    """A text, and what stands small beneath it."""

    text: str
    detail: str = ""


class TextTable(NamedTuple):
    """A table; the first column names the rows. Who shows it escapes its texts."""

    title: str
    head: list[str]
    rows: list[list[Cell]]


def percent(share: float) -> str:
    """`0.7312` as `73.1%`."""
    return f"{100 * share:.1f}%".replace("-", _MINUS)


def seconds(value_s: float) -> str:
    """A measured time, three significant digits with a unit: `84.2 ms`, `1.20 s`, `12.2 days`."""
    value, unit = _in_unit(value_s)
    if _HOURS_FROM_S <= value_s < math.inf:
        hours = value_s / 3600
        value, unit = (hours, "h") if value_s < _DAYS_FROM_S else (hours / 24, "days")
    return f"{three_digits(value)} {unit}"


def nominal_seconds(value_s: float) -> str:
    """A time that was set, not measured, without trailing zeros: `10 ms`, `10,200 s`."""
    value, unit = _in_unit(value_s)
    return f"{value:,.0f} {unit}" if 9999.5 <= value < math.inf else f"{value:.4g} {unit}"  # noqa: PLR2004


def count(value: float) -> str:
    """Three significant digits with a prefix: `4210000` as `4.21 M`; `41` of a whole number."""
    if isinstance(value, int) and value < 1000:  # noqa: PLR2004 - no prefix
        return str(value)
    power = 0
    while 999.5 <= value < math.inf and power < len(_PREFIXES) - 1:  # noqa: PLR2004
        value, power = value / 1000, power + 1
    return f"{three_digits(value)} {_PREFIXES[power]}".rstrip()


def three_digits(value: float) -> str:
    """Three significant digits, without an exponent: `0.0000497`."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}".replace("-", _MINUS)
    rounded = float(f"{value:.3g}")
    return f"{rounded:.{max(0, 2 - math.floor(math.log10(abs(rounded))))}f}"


def with_unit(counted: str, unit: str) -> str:
    """`1.08 M` and `FLOPs` as `1.08 MFLOPs`; `200` as `200 FLOPs`."""
    return f"{counted}{unit}" if counted[-1].isalpha() else f"{counted} {unit}"


def _in_unit(value_s: float) -> tuple[float, str]:
    if value_s >= 1 or value_s == 0:
        return value_s, "s"
    return (1e3 * value_s, "ms") if value_s >= 1e-3 else (1e6 * value_s, "µs")  # noqa: PLR2004
