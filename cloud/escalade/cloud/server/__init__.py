"""A server, from its options to its end; knows no particular backend."""

from escalade.cloud.server.options import ServeOptions
from escalade.cloud.server.running import run_server
from escalade.cloud.server.serving import serve

__all__ = ["ServeOptions", "run_server", "serve"]
