"""The proxy as it is run: its addresses, its counts in a file, signals, no more descriptors."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from proxied import (
    Streams,
    echo,
    serving,
)

from escalade.edge.errors import DataError
from escalade.simulator.errors import ProxyError
from escalade.simulator.network.clock import SPIN_S
from escalade.simulator.network.profiles import get_profile
from escalade.simulator.network.proxy.running import run_proxy


@pytest.mark.parametrize(
    ("listen", "upstream", "said"),
    [
        (":0", "cloud:0", "upstream address must be .* with a port in 1-65535, got 'cloud:0'"),
        (":0", "50051", "upstream address must be HOST:PORT or :PORT .* got '50051'"),
        (":65536", ":1", "listen address must be .* with a port in 0-65535, got ':65536'"),
        (":0", "a..b:1", "upstream address must be .* labels of 1-63 bytes .* got 'a..b:1'"),
        (":0", f"{'a' * 64}:1", "upstream address must be .* labels of 1-63 bytes"),
        (f"{'a.' * 127}:1", ":1", "listen address must be .* 253 together"),
        ("::1:80", ":1", "listen address must be .* in brackets.*, got '::1:80'"),
    ],
)
def test_an_address_without_a_port_is_refused(listen: str, upstream: str, said: str) -> None:
    with pytest.raises(ProxyError, match=said):
        run_proxy(get_profile("free"), listen, upstream, seed=0, on_ready=lambda *_: None)


def test_stats_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file/stats\.json: cannot be written"):
        run_proxy(
            get_profile("free"),
            ":0",
            ":1",
            seed=0,
            on_ready=lambda *_: None,
            stats_path=tmp_path / "file" / "stats.json",
        )


MAIN = """
import sys
from time import process_time
from pathlib import Path
from escalade.simulator.network.profiles import get_profile
from escalade.simulator.network.proxy.running import run_proxy
run_proxy(get_profile("coe-10ms"), ":0", sys.argv[1], seed=0, stats_path=Path(sys.argv[2]),
          on_ready=lambda host, port: print(host, port, process_time(), flush=True))
print(process_time())
"""
_PIECES = 20


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_announces_counts_sleeps_and_stops(
    number: signal.Signals, tmp_path: Path
) -> None:
    stats = tmp_path / "stats.json"

    async def main() -> None:
        async with serving(echo) as cloud:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                MAIN,
                f"{cloud[0]}:{cloud[1]}",
                str(stats),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            assert process.stdout is not None
            host, port, began_s = (await process.stdout.readline()).decode().split()
            assert json.loads(stats.read_bytes()) == {
                "connections": 0,
                "bytes_up": 0,
                "bytes_down": 0,
            }
            reader, writer = await asyncio.open_connection(host, int(port))
            for _ in range(_PIECES):
                writer.write(bytes(1000 // _PIECES))
                await reader.readexactly(1000 // _PIECES)
            # The connection is still open: stopping does not wait for it.
            process.send_signal(number)
            ended_s, errors = await process.communicate()
            writer.transport.abort()
            assert (process.returncode, errors) == (0, b"")
            # Of its own time: servers on the machine are to have the rest.
            assert (float(ended_s) - float(began_s)) / (2 * _PIECES) < SPIN_S / 2

    asyncio.run(main())
    assert json.loads(stats.read_bytes()) == {
        "connections": 1,
        "bytes_up": 1000,
        "bytes_down": 1000,
    }
    assert list(tmp_path.iterdir()) == [stats]


def test_traffic_goes_on_where_there_is_no_room_for_the_stats(tmp_path: Path) -> None:
    stats = tmp_path / "stats.json"

    async def tried() -> None:
        """Wait for a file beside it: it comes and goes."""
        before = tmp_path.stat().st_mtime_ns
        while tmp_path.stat().st_mtime_ns == before:
            await asyncio.sleep(0.001)

    async def main() -> None:
        async with serving(echo) as cloud, asyncio.timeout(60):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", MAIN, f"{cloud[0]}:{cloud[1]}", str(stats),
                stdout=subprocess.PIPE,
            )  # fmt: skip
            try:
                assert process.stdout is not None
                host, port, _ = (await process.stdout.readline()).decode().split()
                first = stats.read_bytes()
                _, most = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, most))
                reader, writer = await asyncio.open_connection(host, int(port))
                for _ in range(2):
                    writer.write(b"x")
                    assert await reader.readexactly(1) == b"x"
                    await tried()
                assert stats.read_bytes() == first
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, most))
                while json.loads(stats.read_bytes())["bytes_down"] < 2:
                    await asyncio.sleep(0.001)
                writer.transport.abort()
                process.terminate()
                assert await process.wait() == 0
            finally:
                if process.returncode is None:
                    process.kill()

    asyncio.run(main())
    assert list(tmp_path.iterdir()) == [stats]


@pytest.mark.slow
def test_connections_go_on_when_descriptors_run_out() -> None:
    command = [sys.executable, "-m", "escalade.cli", "proxy", "--profile", "free", "--upstream"]

    async def echoes(streams: Streams) -> bool:
        reader, writer = streams
        try:
            writer.write(b"x")
            return await reader.read(1) == b"x"
        except ConnectionError:
            return False

    async def dialled(port: int) -> Streams:
        while True:
            with suppress(ConnectionError):  # a reset may come before asyncio has looked
                return await asyncio.open_connection("127.0.0.1", port)

    async def main() -> None:
        async with serving(echo) as cloud:
            process = await asyncio.create_subprocess_exec(
                "bash", "-c", 'ulimit -n 40; exec "$@"', "-", *command, f"{cloud[0]}:{cloud[1]}",
                stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            try:
                assert process.stderr is not None
                port = int((await process.stderr.readline()).rsplit(b":", 1)[1])
                first = await asyncio.open_connection("127.0.0.1", port)
                assert await echoes(first)
                many = [await dialled(port) for _ in range(60)]
                said = (await process.stderr.readline()).decode()
                assert "no new connections for now: Too many open files" in said
                assert await echoes(first)
                for _, writer in many:
                    writer.transport.abort()
                async with asyncio.timeout(30):
                    served = False
                    while not served:
                        late = await dialled(port)
                        served = await echoes(late)
                        late[1].transport.abort()
                first[1].transport.abort()
                process.terminate()
                assert await process.stderr.read() == b""
                assert await process.wait() == 0
            finally:
                if process.returncode is None:
                    process.kill()

    asyncio.run(main())
