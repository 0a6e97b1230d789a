"""The verbs of `escalade proxy`: a network in the path of live traffic, changed while it flows."""

from escalade.cli.verbs.proxy.pause import pause
from escalade.cli.verbs.proxy.reset import reset
from escalade.cli.verbs.proxy.resume import resume
from escalade.cli.verbs.proxy.set import set_
from escalade.cli.verbs.proxy.show import show
from escalade.cli.verbs.proxy.start import start

__all__ = ["pause", "reset", "resume", "set_", "show", "start"]
