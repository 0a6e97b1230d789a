"""A value beside what it may be; knows no profile."""

from __future__ import annotations

from typing import NamedTuple


class Claim(NamedTuple):
    """What a field must be, and whether it is."""

    field: str
    value: object
    allowed: str
    holds: bool

    def under(self, prefix: str) -> Claim:
        """The same of a field that belongs to another."""
        return self._replace(field=f"{prefix}.{self.field}")


def at_least(field: str, value: float, least: float, most: float) -> Claim:
    """`least <= field <= most`; NaN is neither."""
    return Claim(field, value, f"{least:g} <= {field} <= {most:g}", least <= value <= most)


def above(field: str, value: float, bound: float, most: float) -> Claim:
    """`bound < field <= most`; NaN is neither."""
    return Claim(field, value, f"{bound:g} < {field} <= {most:g}", bound < value <= most)
