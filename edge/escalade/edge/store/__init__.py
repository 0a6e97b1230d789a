"""Versions of an artifact on the device: fetch, install, switch, roll back; knows no runtime."""

from escalade.edge.store.installation import install
from escalade.edge.store.store import CURRENT, Store

__all__ = ["CURRENT", "Store", "install"]
