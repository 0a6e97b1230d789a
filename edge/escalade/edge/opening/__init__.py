"""Opening: a folder or a file becomes a cascade of tiers, gates and ways out; asks no query."""

from escalade.edge.opening.members import Members
from escalade.edge.opening.opening import open_cascade
from escalade.edge.opening.options import OpenOptions

__all__ = ["Members", "OpenOptions", "open_cascade"]
