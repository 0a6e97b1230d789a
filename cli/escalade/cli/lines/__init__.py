"""What verbs found, in lines and rows for people; loads no program, knows no verb."""

from escalade.cli.lines.answers import (
    is_streamed,
    print_answer_json,
    print_deltas,
    show_answer,
    waits_shown,
)
from escalade.cli.lines.calibration import (
    UNCHECKED,
    all_or_none_lines,
    cascade_calibration_lines,
    promise_line,
)
from escalade.cli.lines.cascade import rows_of, summary_of
from escalade.cli.lines.export import budget_table, spent_lines, took_line

__all__ = [
    "UNCHECKED",
    "all_or_none_lines",
    "budget_table",
    "cascade_calibration_lines",
    "is_streamed",
    "print_answer_json",
    "print_deltas",
    "promise_line",
    "rows_of",
    "show_answer",
    "spent_lines",
    "summary_of",
    "took_line",
    "waits_shown",
]
