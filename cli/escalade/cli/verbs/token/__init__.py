"""The verbs of `escalade token`: who may ask a server, and how much."""

from escalade.cli.verbs.token.list import list_
from escalade.cli.verbs.token.new import new
from escalade.cli.verbs.token.revoke import revoke

__all__ = ["list_", "new", "revoke"]
