"""`optimum-cli export escalade`: hands its words to `escalade export`; knows no model.

optimum's command line loads every file of the namespace `optimum.commands.register`. No folder
on the way here may have an `__init__.py`: it would hide optimum itself (PEP 420).
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser

from optimum.commands.base import BaseOptimumCLICommand, CommandInfo
from optimum.commands.export.base import ExportCommand


class EscaladeExportCommand(BaseOptimumCLICommand):  # type: ignore[misc] # optimum has no types
    """Takes what `escalade export` takes, and does what it does."""

    COMMAND = CommandInfo(
        name="escalade", help="Export a language model to an artifact for an edge device."
    )

    @staticmethod
    def parse_args(parser: ArgumentParser) -> None:
        """Leave every word, `--help` too, to the parser of `escalade export`."""
        parser.prefix_chars = ""
        parser.add_argument("words", nargs="*")

    def run(self) -> None:
        """Be `escalade export` from here on, its exit code included."""
        from escalade.cli.main import run

        sys.argv = ["escalade", "export", *self.args.words]
        run()


REGISTER_COMMANDS = [(EscaladeExportCommand, ExportCommand)]
