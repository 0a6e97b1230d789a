"""`escalade netns`: a command on a network that this machine's kernel makes."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from escalade.cli.options import ProfilesOption

_SIGNALLED = 128  # and the signal's number, as shells have it


def netns(
    profile: Annotated[str, typer.Option("--profile", help="Name of a network, e.g. lte.")],
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[--] COMMAND [ARGUMENT]...", help="What runs on the network."),
    ] = None,
    upstream: Annotated[
        str | None, typer.Option("--upstream", help="HOST:PORT of the real server.")
    ] = None,
    profiles: ProfilesOption = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            min=0,
            help="Same seed, same chance; takes Linux 6.6 and its tc. Default: the kernel's own.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what tc would be told, and run nothing.")
    ] = False,
) -> None:
    """Run a command on a named network of real packets: namespaces and tc, where Linux has them."""
    from escalade.cli.output import note_console, result_console
    from escalade.simulator.network import (
        CLOUD,
        KernelNetwork,
        get_profile,
        profiles_with,
        shaping_lines,
    )
    from escalade.v1.address import Address, parse_address

    network = get_profile(profile, profiles_with(profiles))
    if dry_run:
        for line in shaping_lines(network, seed=seed):
            result_console().print(line)
        return
    if upstream is None or not command:
        missing = "option '--upstream'" if upstream is None else "argument 'COMMAND'"
        raise typer.BadParameter(f"Missing {missing}")
    if shutil.which(command[0]) is None:
        raise typer.BadParameter(f"COMMAND must be a program that there is; got {command[0]!r}")
    try:
        server = parse_address(upstream, default_host="127.0.0.1")
    except ValueError as error:
        raise typer.BadParameter(f"--upstream: address {error}") from error
    notes = note_console()
    with KernelNetwork(network, server, seed=seed, on_trouble=notes.print) as made:
        at = Address(CLOUD, server.port)
        notes.print(f"{profile} ({network.rtt_ms:g} ms round trip) to {server} on {at}")
        with _outlived(made.start(command)) as process:
            code = process.wait()
    raise typer.Exit(_SIGNALLED - code if code < 0 else code)


@contextmanager
def _outlived(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Let a command be ended by what would end this process, which then says its code.

    However the block ends, the command has ended too: its network goes.
    """
    before = {}
    try:
        # A terminal sends Ctrl-C to both: it is the command's to end by it, or not.
        before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` is of both
                before[number] = signal.signal(
                    number, lambda number, frame: process.send_signal(number)
                )
        yield process
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if process.poll() is None:
            process.terminate()
            process.wait()
