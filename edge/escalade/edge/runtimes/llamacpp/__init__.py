"""Programs that llama.cpp runs; imports it, so that only who opens one comes here."""

from escalade.edge.runtimes.llamacpp import library
from escalade.edge.runtimes.llamacpp.decoder import LlamaCppRuntime

__all__ = [
    "LlamaCppRuntime",
    "library",
]
