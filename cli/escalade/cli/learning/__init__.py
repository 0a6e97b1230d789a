"""A gateway whose models learn from what the tier above them says; knows no wire."""

from escalade.cli.learning.gathering import Gathering, open_gathering

__all__ = ["Gathering", "open_gathering"]
