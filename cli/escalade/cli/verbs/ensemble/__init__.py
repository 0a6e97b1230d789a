"""The verbs of `escalade ensemble`: models that vote together."""

from escalade.cli.verbs.ensemble.pick import pick

__all__ = ["pick"]
