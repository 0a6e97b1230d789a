"""Queries whose answers are to come later, kept over restarts; knows no tier's channel."""

from escalade.edge.outbox.entry import Entry, Kept
from escalade.edge.outbox.place import MAX_AGE_S, MAX_QUERIES, OutboxOptions, default_path
from escalade.edge.outbox.store import Outbox

__all__ = ["MAX_AGE_S", "MAX_QUERIES", "Entry", "Kept", "Outbox", "OutboxOptions", "default_path"]
