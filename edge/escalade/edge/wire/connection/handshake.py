"""Why a TLS handshake failed that no second one will mend; knows no channel.

gRPC has one code for every server that it cannot connect to, UNAVAILABLE. What may pass and what
will not, it tells in its details alone, in BoringSSL's words (seen in grpcio 1.85). Words that are
not known here are taken as what may pass.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_BAD_CERTIFICATE, _NO_TLS = "BAD_CERTIFICATE", "NO_TLS"


class Mistrust(NamedTuple):
    """A failure that lasts until somebody changes a file or a name."""

    reason: str
    #: In words.
    said: str


def mistrust_of(details: str | None) -> Mistrust | None:
    """What gRPC's details of an UNAVAILABLE say of a handshake; None where it may pass."""
    details = details or ""
    if failed := re.search(r"CERTIFICATE_VERIFY_FAILED: ([^:]+)", details):
        return Mistrust(_BAD_CERTIFICATE, f"its certificate is not trusted here: {failed[1]}")
    if "Hostname Verification Check failed" in details:
        return Mistrust(_BAD_CERTIFICATE, "its certificate is for other names than this one")
    if "WRONG_VERSION_NUMBER" in details:
        return Mistrust(_NO_TLS, "it does not speak TLS")
    return None
