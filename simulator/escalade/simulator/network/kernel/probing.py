"""Probes what this machine's kernel can do to packets, in a namespace of its own; changes nothing.

Each part is tried, for nothing else says so: netem is missing from the kernels of many small
virtual machines, and user namespaces are forbidden in many containers.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

import msgspec

# A kernel loads a module for it at most; nothing is sent.
_WITHIN_S = 10.0

#: What a network of packets takes, and a command that fails without it. The last is of a driver
#: that follows a network that changes, and lets nothing overtake (`qdiscs.py`).
_PARTS = {
    "namespace": "nsenter --net=/proc/self/ns/net true",
    "veth": "ip link add name veth0 type veth peer name veth1",
    "netem": "tc qdisc add dev lo root netem delay 1ms rate 1mbit",
}


class KernelPart(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a network of packets takes."""

    name: str
    #: Why it cannot be had; empty where it can.
    lacking: str


def unsharing() -> tuple[str, ...]:
    """The command before one that is to have a namespace of networks for itself.

    Root needs no namespace of users, in which every file but its own would be nobody's.
    """
    is_root = sys.platform == "linux" and not os.geteuid()
    users = () if is_root else ("--user", "--map-root-user")
    return ("unshare", *users, "--net", "--")


def probe_kernel() -> list[KernelPart]:
    """Try each part: a namespace of networks, pairs of links, and delay with bandwidth."""
    return [KernelPart(name=name, lacking=_lacking(tried)) for name, tried in _PARTS.items()]


def kernel_lacks(parts: Sequence[KernelPart]) -> str:
    """What a network of packets lacks here, each reason once; empty where there is none."""
    reasons: dict[str, list[str]] = {}
    for part in parts:
        if part.lacking:
            reasons.setdefault(part.lacking, []).append(part.name)
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())


def _lacking(tried: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - the commands above
            [*unsharing(), "sh", "-c", tried],
            capture_output=True, text=True, timeout=_WITHIN_S, check=False,
        )  # fmt: skip
    except OSError as error:
        return f"{unsharing()[0]}: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"no answer in {_WITHIN_S:g} s"
    if not done.returncode:
        return ""
    said = done.stderr.strip().splitlines()
    return said[0] if said else f"exit code {done.returncode}"
