"""The verbs of `escalade store`: versions of an artifact on a device, and who signed them."""

from escalade.cli.verbs.store.install import install
from escalade.cli.verbs.store.rollback import rollback
from escalade.cli.verbs.store.sign import sign
from escalade.cli.verbs.store.verify import verify
from escalade.cli.verbs.store.versions import versions

__all__ = ["install", "rollback", "sign", "verify", "versions"]
