"""A client on the kernel's network, as the clock times it: real processes, a few calls."""

from __future__ import annotations

import pytest

from escalade.simulator.errors import KernelError
from escalade.simulator.network import Profile, kernel_lacks, probe_kernel
from escalade.simulator.timing.echo import asking_over_kernel, echo_server

PROFILE = Profile(name="20ms", rtt_ms=20, source="a test")


def test_a_client_on_the_kernels_network_says_what_its_calls_take() -> None:
    lacking = kernel_lacks(probe_kernel())
    with echo_server() as port:
        if lacking:
            with pytest.raises(KernelError) as raised, asking_over_kernel(port, PROFILE, 100):
                pytest.fail("it has been made")
            assert lacking in str(raised.value)
            return
        with asking_over_kernel(port, PROFILE, 100) as ask:
            # TCP's handshake, the server's settings, the call: nobody is early.
            assert ask() >= 0.06
            assert ask() >= 0.02
