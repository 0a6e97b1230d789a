"""Runs programs on a network that the kernel makes, before a server of this machine's own network.

What listens at the cloud's end is a plain relay: the proxy, without a delay. Between it and the
device real packets cross, with the kernel's own TCP.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from escalade.simulator.errors import KernelError
from escalade.simulator.network.kernel.carrying import Teller, following, relaying
from escalade.simulator.network.kernel.moments import Moment, Moments, varies
from escalade.simulator.network.kernel.namespaces import ADDRESSES, Namespaces
from escalade.simulator.network.kernel.probing import kernel_lacks, probe_kernel
from escalade.simulator.network.kernel.qdiscs import (
    ENDS,
    EXPONENTIAL,
    Way,
    check_shapeable,
    exponential_table,
    qdisc,
)
from escalade.simulator.network.profiles import Profile
from escalade.v1.address import Address

#: The address of the server's end, as programs on the network see it.
CLOUD = ADDRESSES["cloud"]

_NO_SEED = "netem takes no seed here, that takes Linux 6.6 and its tc: leave --seed out"


class KernelNetwork:
    """A network between the programs it runs and one server, as a context manager.

    Linux, with `unshare`, `nsenter`, `ip` and `tc` (util-linux, iproute2). On leaving, the network
    goes away; whoever starts a program waits for its end first.
    """

    def __init__(
        self,
        profile: Profile,
        upstream: Address,
        *,
        seed: int | None = None,
        on_trouble: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Take what it is to be; nothing is made before it is entered.

        Args:
            profile: the network; of one device, all of whose connections share its bandwidth.
            upstream: the server, as seen from this process; nothing need listen there yet.
            seed: of all that chance does. None has netem draw its own jitter and losses, for
                kernels before 6.6 and their tc take no seed; what varies over time is of seed 0.
            on_trouble: told in one line, once, that descriptors have run out.

        Raises:
            KernelError: netem cannot do it.
        """
        check_shapeable(profile, seed)
        self._profile = profile
        self._upstream = upstream
        self._seed = seed
        self._on_trouble = on_trouble
        self._namespaces = Namespaces(upstream.port)
        self._stack = ExitStack()

    @property
    def address(self) -> Address:
        """Where programs on the network find the server."""
        return Address(CLOUD, self._upstream.port)

    def __enter__(self) -> KernelNetwork:
        """Make it.

        Raises:
            KernelError: the kernel or a program lacks what it takes; says what.
        """
        with ExitStack() as stack:
            try:
                self._make(stack)
            except KernelError as error:
                if lacking := kernel_lacks(probe_kernel()):
                    raise KernelError(
                        f"no network of the kernel's on this machine: {lacking}"
                    ) from error
                # An older tc asks: What is "seed"?
                if self._seed is not None and '"seed"' in str(error):
                    raise KernelError(_NO_SEED) from error
                raise
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take it away."""
        self._stack.close()

    def start(
        self, command: Sequence[str], *, stdin: int | None = None, stdout: int | None = None
    ) -> subprocess.Popen[bytes]:
        """Run a program at the device's end; user, files and terminal are this process's own.

        Args:
            command: the program and its arguments.
            stdin: as `subprocess` has it.
            stdout: the same.
        """
        whole = [*self._namespaces.entering("device"), *command]
        return subprocess.Popen(whole, stdin=stdin, stdout=stdout)  # noqa: S603 - the caller's

    def _make(self, stack: ExitStack) -> None:
        moments = Moments(self._profile, self._seed or 0)
        stack.enter_context(self._namespaces)
        stack.callback(self._namespaces.listening.close)
        tables = Path(stack.enter_context(TemporaryDirectory(prefix="escalade-")))
        with (tables / f"{EXPONENTIAL}.dist").open("w") as file:
            file.writelines(exponential_table())
        env = {"TC_LIB_DIR": str(tables)}  # where tc looks for tables of delays
        for way, end in ENDS.items():
            shaping = [self._line("add", way, moments.at(0.0)), f"qdisc show dev {end}"]
            shown = self._namespaces.tell(end, "tc", shaping, env)
            # A kernel that knows no seed says nothing, and draws its own.
            if self._seed is not None and " seed " not in shown:
                raise KernelError(_NO_SEED)
        if varies(self._profile):
            tellers = [
                Teller(self._namespaces.entering(end), partial(self._line, "change", way), env)
                for way, end in ENDS.items()
            ]
            for teller in tellers:
                stack.enter_context(teller)
            stack.enter_context(following(moments, tellers))
        listening = self._namespaces.listening
        stack.enter_context(relaying(listening, self._upstream, self._on_trouble))

    def _line(self, verb: str, way: Way, now: Moment) -> str:
        return qdisc(verb, self._profile, way, now, self._seed)
