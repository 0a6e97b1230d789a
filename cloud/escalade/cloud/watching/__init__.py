"""Who watches a server: metrics, spans, a log of requests; knows neither service nor backend."""

from escalade.cloud.watching.call import Observer, observed
from escalade.cloud.watching.log import json_lines
from escalade.cloud.watching.watch import Watch, WatchOptions

__all__ = ["Observer", "Watch", "WatchOptions", "json_lines", "observed"]
