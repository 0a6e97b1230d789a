"""A client on the kernel's network, as the clock times it: real processes, a few calls."""

from __future__ import annotations

import subprocess
import sys

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


_STARTS = """
import os, signal
from escalade.simulator.network import Profile
from escalade.simulator.timing.echo import echo_server, proxy_before
if __name__ == "__main__":
    with echo_server() as port, proxy_before(port, Profile(name="0", rtt_ms=0, source="a test")):
        print("both", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_no_process_outlives_one_that_is_killed() -> None:
    # All of them have its output, which ends with the last.
    done = subprocess.run(
        [sys.executable, "-c", _STARTS], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (-9, "both\n", "")
