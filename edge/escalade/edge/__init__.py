"""The device's half of a cascade: open an artifact, generate, score, decide, defer, remember.

Loads neither torch nor transformers.
"""

from escalade.edge.answer import Answer
from escalade.edge.chat import Chat
from escalade.edge.client import EdgeClient
from escalade.edge.errors import EdgeError
from escalade.edge.generation import Artifact
from escalade.edge.runtimes import Sampling

__all__ = ["Answer", "Artifact", "Chat", "EdgeClient", "EdgeError", "Sampling"]
