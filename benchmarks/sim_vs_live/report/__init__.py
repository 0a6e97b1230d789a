"""The page docs/results-simulator.md, and the same tables for a terminal; measures nothing."""

from benchmarks.sim_vs_live.report.findings import (
    Findings,
    added_tables_of,
    read_findings,
    tables_of,
)
from benchmarks.sim_vs_live.report.page import write

__all__ = ["Findings", "added_tables_of", "read_findings", "tables_of", "write"]
