"""Who watches a server: metrics, spans, a log of requests; knows neither service nor backend."""

from escalade.cloud.watching.call import Observer, observed, tell_refused
from escalade.cloud.watching.log import json_lines
from escalade.cloud.watching.watch import Watch, WatchOptions

__all__ = ["Observer", "Watch", "WatchOptions", "json_lines", "observed", "tell_refused"]
