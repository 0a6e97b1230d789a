"""An OpenAI-compatible endpoint over a cascade on this device (extra `endpoint`); knows no model.

    served = open_served_cascade(Path("cascade.toml"), OpenOptions(), now_s=time.monotonic)
    run_endpoint(served, EndpointOptions(), Listening(), on_ready=print)

How streaming and deferral go together is the user's choice, see `docs/endpoint.md`: `hold` sends
nothing before it is decided whose answer stands; `replace` streams the draft, and an event takes it
back; `early` does the same, and ends a draft as soon as it is certain not to stand.
"""

from escalade.edge.endpoint.served_cascade import open_served_cascade
from escalade.edge.endpoint.web import EndpointOptions, Listening, run_endpoint

__all__ = ["EndpointOptions", "Listening", "open_served_cascade", "run_endpoint"]
