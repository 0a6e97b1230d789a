"""`python -m escalade.cli`: the same as the `escalade` script."""

from escalade.cli.main import run

run()
