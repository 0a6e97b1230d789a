"""The verbs of `escalade`; each imports what it needs when it is called."""

from escalade.cli.verbs.ask import ask, record
from escalade.cli.verbs.calibrate import calibrate
from escalade.cli.verbs.evaluate import evaluate
from escalade.cli.verbs.export import export
from escalade.cli.verbs.inspect import inspect
from escalade.cli.verbs.network import proxy, simulate
from escalade.cli.verbs.router import router
from escalade.cli.verbs.serve import serve
from escalade.cli.verbs.store import install, rollback, sign, verify, versions
from escalade.cli.verbs.train import tasks, trace, train

__all__ = [
    "ask",
    "calibrate",
    "evaluate",
    "export",
    "inspect",
    "install",
    "proxy",
    "record",
    "rollback",
    "router",
    "serve",
    "sign",
    "simulate",
    "tasks",
    "trace",
    "train",
    "verify",
    "versions",
]
