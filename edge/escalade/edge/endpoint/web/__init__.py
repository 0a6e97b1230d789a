"""The endpoint's HTTP: connections, routes, streams; knows no field of a request."""

from escalade.edge.endpoint.web.app import Rules
from escalade.edge.endpoint.web.server import Listening, run_endpoint

__all__ = ["Listening", "Rules", "run_endpoint"]
