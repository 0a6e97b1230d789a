"""The endpoint's HTTP: connections, routes, streams; knows no field of a request."""

from escalade.edge.endpoint.web.app import EndpointOptions
from escalade.edge.endpoint.web.server import Listening, run_endpoint

__all__ = ["EndpointOptions", "Listening", "run_endpoint"]
