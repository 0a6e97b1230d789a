"""Runs it: a server, its clients, and what it holds before and after."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import grpc
import grpc.aio

from escalade.v1 import cascade_pb2 as pb
from escalade.v1 import cascade_pb2_grpc as pb_grpc

AT_ONCE = 48  # below the queue's 64, so that what is refused is no part of it
# What a server keeps of right: 1024 answers, and what an allocator has not given back.
_WARM_CALLS, _MOST_MB, _MOST_DESCRIPTORS, _MOST_TASKS, _MOST_THREADS = 1500, 40.0, 8, 4, 4
# oneDNN keeps a program for each number of rows, torch's allocator pages of each size: the engine
# grew by 28 MB in the first 8 of 28 minutes, and by nothing after them.
_WARM_MINUTES = 8.0
# Of what an answer takes on this machine now: who leaves finds its query on the way, in the queue
# and under way, however slow all three are.
_LEAVES_WITHIN = 0.25
_SETTLE_S = 3.0

Held = dict[str, float]
Stub: TypeAlias = "pb_grpc.CascadeServiceAsyncStub"
Count = Counter[str]


def main() -> None:
    """Parse the options and run."""
    parser = argparse.ArgumentParser(prog="python -m soak")
    parser.add_argument("--cancelled", type=int, default=50_000)
    parser.add_argument("--minutes", type=float, default=0.0, help="of all kinds of calls")
    parser.add_argument("--warm-up", type=float, default=_WARM_MINUTES, help="minutes before those")
    parser.add_argument("--leak", type=int, default=0, metavar="BYTES")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    server = subprocess.Popen(
        [sys.executable, "-m", "soak.served", str(options.leak)],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        before, after, ends = asyncio.run(run(server, options))
    finally:
        server.kill()
        server.wait()
    grown = {name: round(after[name] - before[name], 1) for name in before}
    limits = {
        "memory_mb": _MOST_MB,
        "tasks": _MOST_TASKS,
        "descriptors": _MOST_DESCRIPTORS,
        "threads": _MOST_THREADS,
    }
    leaks = [
        f"{name} grew by {grown[name]}, at most {limits[name]}"
        for name in grown
        if name in limits and grown[name] > limits[name]
    ]
    found = {
        "ends": dict(ends),
        "before": before,
        "after": after,
        "grown": grown,
        "leaks": leaks,
        "load average": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(found, indent=2 if options.json else None))  # noqa: T201
    raise SystemExit(1 if leaks else 0)


async def run(
    server: subprocess.Popen[str], options: argparse.Namespace
) -> tuple[Held, Held, Count]:
    """Warm it, count, use it, count again."""
    address = await _said(server)
    dice = random.Random(options.seed)
    ends: Count = Counter()
    async with grpc.aio.insecure_channel(address) as channel:
        stub = pb_grpc.CascadeServiceStub(channel)
        began_s = time.monotonic()
        await _together(lambda: _asked(stub, dice, ends), _times(_WARM_CALLS))
        took_s = (time.monotonic() - began_s) * AT_ONCE / _WARM_CALLS

        async def left(stub: Stub, dice: random.Random, ends: Count) -> None:
            await _left(stub, dice, ends, dice.uniform(0, _LEAVES_WITHIN * took_s))

        await _together(lambda: left(stub, dice, ends), _times(4 * AT_ONCE))
        acts = [_asked, _asked, _streamed, left]

        async def mixed(minutes: float) -> None:
            until_s = time.monotonic() + 60 * minutes
            await _together(
                lambda: dice.choice(acts)(stub, dice, ends), lambda: time.monotonic() < until_s
            )

        if options.minutes:
            await mixed(options.warm_up)
        before = await _held(server)
        ends.clear()
        if options.minutes:
            await mixed(options.minutes)
        else:
            await _together(lambda: left(stub, dice, ends), _times(options.cancelled))
        after = await _held(server)
    return before, after, ends


def _times(count: int) -> Callable[[], bool]:
    """True so many times."""
    left = iter(range(count))
    return lambda: next(left, None) is not None


async def _together(act: Callable[[], Awaitable[None]], more: Callable[[], bool]) -> None:
    async def go_on() -> None:
        while more():
            await act()

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(go_on())


def _request(dice: random.Random) -> pb.GenerateRequest:
    word = "".join(dice.choices("abcdefghilmnoprstu", k=dice.randint(2, 12)))
    return pb.GenerateRequest(
        request_id=uuid.UUID(int=dice.getrandbits(128)).hex, prompt=pb.Prompt(text=f"g2p: {word}")
    )


async def _asked(stub: Stub, dice: random.Random, ends: Count) -> None:
    answer = await stub.Generate(_request(dice))
    ends["answered" if answer.stop_reason else "answered without a reason"] += 1


async def _streamed(stub: Stub, dice: random.Random, ends: Count) -> None:
    call = stub.GenerateStream(pb.GenerateStreamRequest(request=_request(dice)))
    whole = [message.HasField("final") async for message in call]
    ends["streamed" if whole[-1:] == [True] else "streamed in part"] += 1


async def _left(stub: Stub, dice: random.Random, ends: Count, after_s: float) -> None:
    """Ask, and leave."""
    if dice.random() < 0.5:
        call = stub.Generate(_request(dice))
    else:
        call = stub.GenerateStream(pb.GenerateStreamRequest(request=_request(dice)))
    await asyncio.sleep(after_s)
    ends["left" if call.cancel() else "answered before it was left"] += 1
    with suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
        await call.code()


async def _held(server: subprocess.Popen[str]) -> Held:
    await asyncio.sleep(_SETTLE_S)
    assert server.stdin is not None
    server.stdin.write("\n")
    server.stdin.flush()
    return dict(json.loads(await _said(server)))


async def _said(server: subprocess.Popen[str]) -> str:
    assert server.stdout is not None
    line = await asyncio.get_running_loop().run_in_executor(None, server.stdout.readline)
    if not line:
        raise SystemExit("the server ended")
    return line.rstrip()


if __name__ == "__main__":
    main()
