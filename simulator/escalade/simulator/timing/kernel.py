"""Probes what this machine's kernel can do to packets, in a namespace of its own; changes nothing.

Each part is tried, for nothing else says so: netem is missing from the kernels of many small
virtual machines, and user namespaces are forbidden in many containers.
"""

from __future__ import annotations

import subprocess

import msgspec

# A kernel loads a module for it at most; nothing is sent.
_WITHIN_S = 10.0

_NAMESPACE = ("unshare", "--user", "--map-root-user", "--net", "--", "sh", "-c")

#: What a network of packets takes, and a command that fails without it.
_PARTS = {
    "namespace": "true",
    "veth": "ip link add name veth0 type veth peer name veth1",
    "tbf": "tc qdisc add dev lo root tbf rate 1mbit burst 32kbit latency 400ms",
    "netem": "tc qdisc add dev lo root netem delay 1ms",
}


class KernelPart(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a network of packets takes."""

    name: str
    #: Why it cannot be had; empty where it can.
    lacking: str


def probe_kernel() -> list[KernelPart]:
    """Try each part: a namespace of users and networks, pairs of links, bandwidth and delay."""
    return [KernelPart(name=name, lacking=_lacking(tried)) for name, tried in _PARTS.items()]


def _lacking(tried: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - the commands above
            [*_NAMESPACE, tried], capture_output=True, text=True, timeout=_WITHIN_S, check=False
        )
    except OSError as error:
        return f"{_NAMESPACE[0]}: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"no answer in {_WITHIN_S:g} s"
    if not done.returncode:
        return ""
    said = done.stderr.strip().splitlines()
    return said[0] if said else f"exit code {done.returncode}"
