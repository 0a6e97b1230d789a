"""The same service for browsers: gRPC-Web, with an allow-list of origins; knows no RPC."""

from escalade.cloud.web.listener import WebListener, WebOptions

__all__ = ["WebListener", "WebOptions"]
