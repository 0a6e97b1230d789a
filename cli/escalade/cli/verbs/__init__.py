"""The verbs of `escalade`; each imports what it needs when it is called."""

from escalade.cli.verbs.ask import ask
from escalade.cli.verbs.calibrate import calibrate
from escalade.cli.verbs.evaluate import evaluate
from escalade.cli.verbs.export import export
from escalade.cli.verbs.fleet import fleet
from escalade.cli.verbs.gateway import gateway
from escalade.cli.verbs.health import health
from escalade.cli.verbs.inspect import inspect
from escalade.cli.verbs.learn import learn
from escalade.cli.verbs.listen import listen
from escalade.cli.verbs.load import load
from escalade.cli.verbs.netns import netns
from escalade.cli.verbs.plan import plan
from escalade.cli.verbs.record import record
from escalade.cli.verbs.router import router
from escalade.cli.verbs.serve import serve
from escalade.cli.verbs.simulate import simulate
from escalade.cli.verbs.tasks import tasks
from escalade.cli.verbs.trace import trace
from escalade.cli.verbs.train import train

__all__ = [
    "ask",
    "calibrate",
    "evaluate",
    "export",
    "fleet",
    "gateway",
    "health",
    "inspect",
    "learn",
    "listen",
    "load",
    "netns",
    "plan",
    "record",
    "router",
    "serve",
    "simulate",
    "tasks",
    "trace",
    "train",
]
