"""What a caller asks for when a cascade is opened; opens nothing."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from escalade.edge.cascade_file import OnOutage
from escalade.edge.deferral import Early
from escalade.edge.policy import SYSTEM_PROVIDERS, Providers
from escalade.edge.tiers import PromptForm

if TYPE_CHECKING:
    from escalade.edge.wire import Through


@dataclass(frozen=True, kw_only=True)
class OpenOptions:
    """How a cascade is opened.

    The first group is for artifacts; a cascade file says these for each of its tiers.
    """

    #: tau; None takes the manifest's.
    threshold: float | None = None
    #: Send token ids (the server shares the artifact's tokenizer) or text.
    prompt_form: PromptForm = "tokens"
    #: Seconds that a server has for one query.
    deadline_s: float = 10.0
    #: Root certificates (PEM) to trust, over TLS; the system's own if None.
    ca_cert: Path | None = None
    #: What a server is shown, see `ClientFiles`.
    token_file: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    #: Speak TLS, or not. If None, where a certificate is given or the host is not loopback.
    tls: bool | None = None
    #: The opposite, in another word.
    plaintext: bool | None = None

    #: When a response may end before it is whole; "likely" needs an artifact calibrated for it,
    #: and its own threshold.
    early: Early = "off"
    #: That compute, for each member at most 256; 0 takes the physical cores, at most 4.
    threads: int = 0
    #: Bytes that all models together may take; None sets no bound.
    max_memory: int | None = None
    #: Public key (PEM) by which manifests must be signed; None takes those that a cascade's file
    #: names, or asks for no signature.
    trusted_key: Path | None = None
    #: See `OnOutage`; None takes what a cascade's file says, and "degrade" of an artifact.
    on_outage: OnOutage | None = None
    #: File of the queries that are kept; None takes what a cascade's file says, or the user's own.
    outbox: Path | None = None
    #: Who says how things stand, and who is asked, where a cascade's file has a policy.
    policy: Providers = SYSTEM_PROVIDERS
    #: Given the address of a tier elsewhere and each gRPC channel to it, gives the channel that is
    #: asked: a network that is simulated, a count of calls. None is the channel itself.
    through: Through | None = None


_OF_ARTIFACTS = (
    *("threshold", "prompt_form", "deadline_s", "ca_cert"),
    *("token_file", "client_cert", "client_key", "tls", "plaintext"),
)


def given_of_artifacts(options: OpenOptions) -> list[str]:
    """The names of what is asked for that a cascade's file says itself, for each of its tiers."""
    return [
        field.name
        for field in fields(options)
        if field.name in _OF_ARTIFACTS and getattr(options, field.name) != field.default
    ]
