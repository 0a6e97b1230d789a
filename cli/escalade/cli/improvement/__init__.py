"""The next version of a small language model, from traces to the store; knows no command line."""

from escalade.cli.improvement.improving import improve
from escalade.cli.improvement.lines import improved_lines

__all__ = ["improve", "improved_lines"]
