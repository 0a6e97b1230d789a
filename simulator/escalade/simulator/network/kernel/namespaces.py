"""Two namespaces of networks and the pair of links between them; knows no profile.

    device --- up -->      each end's own queue shapes what leaves over it
           <-- down --- cloud

Each namespace is held by a process that ends when this one does, however it does; the namespaces
and their links go with it. Nothing of the machine's own network is touched.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Literal

from escalade.simulator.errors import KernelError
from escalade.simulator.network.kernel import holding
from escalade.simulator.network.kernel.probing import unsharing

Side = Literal["device", "cloud"]

#: Addresses of the two ends (RFC 1918), and of their cards (locally administered).
ADDRESSES: dict[Side, str] = {"device": "10.9.0.1", "cloud": "10.9.0.2"}
_CARDS: dict[Side, str] = {"device": "02:00:00:00:00:01", "cloud": "02:00:00:00:00:02"}
_OTHER: dict[Side, Side] = {"device": "cloud", "cloud": "device"}

_WITHIN_S = 10.0
_MOST_BYTES = 1  # of the message that the socket comes with


class Namespaces:
    """The two namespaces, as a context manager."""

    def __init__(self, port: int) -> None:
        """Take the port; nothing is made before it is entered.

        Args:
            port: where the cloud's end listens.
        """
        self._port = port
        self._stack = ExitStack()
        self._holders: dict[Side, subprocess.Popen[bytes]] = {}
        #: Listens at the cloud's end, on any address; whoever takes it closes it.
        self.listening: socket.socket

    def __enter__(self) -> Namespaces:
        """Make them.

        Raises:
            KernelError: a program is missing or refuses; says what it said.
        """
        try:
            self._hold_cloud()
            self._hold_device()
            self._link()
        except OSError as error:
            self._stack.close()
            raise KernelError(f"{error.filename or 'a namespace'}: {error.strerror}") from error
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let them go. What still runs inside keeps its namespace, and loses nothing."""
        self._stack.close()

    def entering(self, side: Side) -> list[str]:
        """The command before one that is to run inside."""
        home = f"/proc/{self._holders[side].pid}/ns"
        users = [f"--user={home}/user", "--preserve-credentials"] if os.geteuid() else []
        return ["nsenter", *users, f"--net={home}/net", "--"]

    def tell(
        self, side: Side, program: str, lines: Iterable[str], env: Mapping[str, str] | None = None
    ) -> str:
        """Have `ip` or `tc` run commands inside; gives what it printed.

        Raises:
            KernelError: one is refused; says what the program said.
        """
        done = subprocess.run(  # noqa: S603 - commands of ours
            [*self.entering(side), program, "-batch", "-"],
            input="".join(f"{line}\n" for line in lines),
            env=None if env is None else {**os.environ, **env},
            capture_output=True, text=True, timeout=_WITHIN_S, check=False,
        )  # fmt: skip
        if done.returncode:
            said = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[0]
            raise KernelError(f"{program} refuses a network of the kernel's: {said}")
        return done.stdout

    def _hold_cloud(self) -> None:
        ours, theirs = socket.socketpair()
        self._stack.enter_context(ours)
        with theirs:
            program = [sys.executable, "-I", "-S", str(Path(holding.__file__))]
            # The namespaces are the process's own before it is this program.
            held = self._started([*unsharing(), *program, str(theirs.fileno()), str(self._port)],
                                 pass_fds=[theirs.fileno()])  # fmt: skip
        self._holders["cloud"] = held
        ours.settimeout(_WITHIN_S)
        message, descriptors, _, _ = socket.recv_fds(ours, _MOST_BYTES, 1)
        if not message:
            raise KernelError(f"a namespace of networks cannot be had: {_said(held)}")
        self.listening = socket.socket(fileno=descriptors[0])

    def _hold_device(self) -> None:
        inside = [*self.entering("cloud"), "unshare", "--net", "--"]
        held = self._started([*inside, "sh", "-c", "echo && exec cat"], stdin=subprocess.PIPE)
        self._holders["device"] = held
        assert held.stdout is not None  # noqa: S101 - asked for below
        if not held.stdout.readline():
            raise KernelError(f"a second namespace of networks cannot be had: {_said(held)}")

    def _started(
        self, command: list[str], *, stdin: int = subprocess.DEVNULL, pass_fds: Iterable[int] = ()
    ) -> subprocess.Popen[bytes]:
        held = subprocess.Popen(  # noqa: S603 - commands of ours
            command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            pass_fds=tuple(pass_fds),
        )  # fmt: skip
        self._stack.callback(_end, held)
        return held

    def _link(self) -> None:
        device = self._holders["device"].pid
        peer = f"peer name device address {_CARDS['device']} netns {device}"
        self.tell("cloud", "ip", [f"link add cloud address {_CARDS['cloud']} type veth {peer}"])
        for side, here in ADDRESSES.items():
            other = _OTHER[side]
            # Neighbours know each other: asking would take a round trip before the first packet.
            # Packets leave one by one, for a loss or a delay is of one, not of 64 KB.
            self.tell(side, "ip", [
                "link set dev lo up",
                f"link set dev {side} gso_max_segs 1",
                f"link set dev {side} up",
                f"address add {here}/30 dev {side}",
                f"neighbour replace {ADDRESSES[other]} lladdr {_CARDS[other]} dev {side}"
                " nud permanent",
            ])  # fmt: skip


def _end(held: subprocess.Popen[bytes]) -> None:
    held.terminate()
    held.communicate()


def _said(held: subprocess.Popen[bytes]) -> str:
    """The last words of a holder that has ended."""
    _, stderr = held.communicate(timeout=_WITHIN_S)
    lines = stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit code {held.returncode}"
