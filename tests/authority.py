"""A certificate authority for tests: makes roots, servers' and clients' certificates with openssl.

Elliptic keys: a key of RSA takes a second.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
_HERE = ("IP:127.0.0.1", "DNS:localhost")


class Pair(NamedTuple):
    cert: Path
    key: Path


def signing_keys(folder: Path) -> tuple[Path, Path]:
    """A private key and its public one, as docs/artifacts.md makes them."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    folder.mkdir(exist_ok=True)
    key, public = folder / "key.pem", folder / "pub.pem"
    for command in (
        f"openssl ecparam -name prime256v1 -genkey -noout -out {key}",
        f"openssl ec -in {key} -pubout -out {public}",
    ):
        subprocess.run(command.split(), check=True, capture_output=True)
    return key, public


class Authority:
    """Signs certificates; `ca` is what its clients and servers trust."""

    def __init__(self, folder: Path, name: str = "root") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._root = Pair(folder / f"{name}.pem", folder / f"{name}-key.pem")
        _request(self._root, f"/CN={name}", "-x509", "-days", "2")
        self.ca = self._root.cert

    def issue(self, name: str, hosts: Sequence[str] = _HERE) -> Pair:
        """A certificate for whom it names, and for this machine or other hosts."""
        return self._made(name, hosts, "-x509", "-days", "2", *self._signer)

    def expired(self, name: str) -> Pair:
        """A certificate whose last day was yesterday."""
        # `req` itself signs for no less than a day.
        made = self._made(name, _HERE)
        wanted = made.cert.rename(made.cert.with_suffix(".csr"))
        days = ("-days", "-1", "-set_serial", "1", "-copy_extensions", "copyall")
        _openssl("x509", "-req", "-in", wanted, *self._signer, *days, "-out", made.cert)
        return made

    @property
    def _signer(self) -> tuple[str, ...]:
        return ("-CA", str(self._root.cert), "-CAkey", str(self._root.key))

    def _made(self, name: str, hosts: Sequence[str], *options: str) -> Pair:
        made = Pair(self._folder / f"{name}-cert.pem", self._folder / f"{name}-key.pem")
        names = f"subjectAltName={','.join(hosts)}"
        _request(made, f"/O=tests/CN={name}", *options, "-addext", names)
        return made


def _request(made: Pair, subject: str, *options: str) -> None:
    where = ("-keyout", made.key, "-out", made.cert)
    _openssl("req", *_NEW_KEY, "-subj", subject, *options, *where)


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
