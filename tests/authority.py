"""A certificate authority for tests: makes roots, servers' and clients' certificates with openssl.

Elliptic keys: a key of RSA takes a second.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
_NAMES = "subjectAltName=IP:127.0.0.1,DNS:localhost"


class Pair(NamedTuple):
    cert: Path
    key: Path


class Authority:
    """Signs certificates; `ca` is what its clients and servers trust."""

    def __init__(self, folder: Path, name: str = "root") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._root = Pair(folder / f"{name}.pem", folder / f"{name}-key.pem")
        _request(self._root, f"/CN={name}", "-x509", "-days", "2")
        self.ca = self._root.cert

    def issue(self, name: str) -> Pair:
        """A certificate for whom it names, and for this machine."""
        made = Pair(self._folder / f"{name}-cert.pem", self._folder / f"{name}-key.pem")
        signer = ("-CA", str(self._root.cert), "-CAkey", str(self._root.key))
        _request(made, f"/O=tests/CN={name}", "-x509", "-days", "2", *signer, "-addext", _NAMES)
        return made


def _request(made: Pair, subject: str, *options: str) -> None:
    subprocess.run(
        [
            *("openssl", "req", *_NEW_KEY, "-subj", subject, *options),
            *("-keyout", str(made.key), "-out", str(made.cert)),
        ],
        check=True,
        capture_output=True,
    )
