"""The device's half of a cascade: open an artifact, generate, score, decide, defer, remember.

Loads neither torch nor transformers.
"""

from escalade.edge.client import Answer, EdgeClient
from escalade.edge.errors import EdgeError

__all__ = ["Answer", "EdgeClient", "EdgeError"]
