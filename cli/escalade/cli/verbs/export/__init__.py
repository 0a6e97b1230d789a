"""`escalade export`: from a torch model to an artifact; knows no network."""

from escalade.cli.verbs.export.export import export

__all__ = ["export"]
