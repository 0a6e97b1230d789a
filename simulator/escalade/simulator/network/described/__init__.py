"""Profiles told in rows and words, with what pings take on them; knows no terminal."""

from escalade.simulator.network.described.pings import Pings, ping, span_s
from escalade.simulator.network.described.rows import (
    ProfileRow,
    profiles_table,
    report_lines,
    report_of,
    row_of,
)

__all__ = [
    "Pings",
    "ProfileRow",
    "ping",
    "profiles_table",
    "report_lines",
    "report_of",
    "row_of",
    "span_s",
]
