"""The embedded engine in a process of its own, which is started again when it ends."""

from escalade.cloud.backends.process.factory import process_factory

__all__ = ["process_factory"]
