"""The verbs of `escalade outbox`: queries that wait for a tier that was out of reach."""

from escalade.cli.verbs.outbox.clear import clear
from escalade.cli.verbs.outbox.flush import flush
from escalade.cli.verbs.outbox.waiting import waiting

__all__ = ["clear", "flush", "waiting"]
