"""Who may ask, and how much: tokens, clients' certificates, limits; knows no RPC of ours."""

from escalade.cloud.access.gate import AccessOptions, make_gate
from escalade.cloud.access.limits import Limits
from escalade.cloud.access.metered import Metered
from escalade.cloud.access.tokens import (
    entry_of,
    make_token,
    read_tokens,
    with_entry,
    without_entry,
)

__all__ = [
    "AccessOptions",
    "Limits",
    "Metered",
    "entry_of",
    "make_gate",
    "make_token",
    "read_tokens",
    "with_entry",
    "without_entry",
]
