"""An OpenAI-compatible endpoint over a cascade on this device (extra `endpoint`); knows no model.

    opened = open_served(Path("cascade.toml"), OpenOptions(), now_s=time.monotonic)
    run_endpoint(opened, Rules(), Listening(), on_ready=print)

How streaming and deferral go together is the user's choice, see `docs/endpoint.md`: `hold` sends
nothing before it is decided whose answer stands; `replace` streams the draft, and an event takes it
back; `early` does the same, and ends a draft as soon as it is certain not to stand.
"""

from escalade.edge.endpoint.served import open_served
from escalade.edge.endpoint.web import Listening, Rules, run_endpoint

__all__ = ["Listening", "Rules", "open_served", "run_endpoint"]
