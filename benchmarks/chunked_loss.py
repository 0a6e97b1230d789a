"""What CAT's losses cost in memory and time beside the textbook way; knows no model.

The textbook way is log_softmax of all logits in float32, then the filter of equation 8. Each
side gets the same logits and makes the loss and its gradient. Peak memory is that of a
fresh process for each side, over what it held just before; times are taken in turn.
"""

from __future__ import annotations

import argparse
import functools
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from rich.table import Table
from torch import Tensor

from escalade.cli.output import result_console
from escalade.training.losses import CPU_CHUNK_BYTES, LossName, Predictions, token_loss

LOSS_NAMES: tuple[LossName, ...] = ("cat-xent", "cat-dist")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
W = 0.5
MIB = 2**20

Side = Literal["naive", "chunked", "overwrite"]
SIDES: tuple[Side, ...] = ("naive", "chunked", "overwrite")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=512, help="target tokens, B * T")
    parser.add_argument("--vocabulary", type=int, default=128_000)
    parser.add_argument("--chunk-mib", type=float, default=CPU_CHUNK_BYTES / MIB)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--peak-of", nargs=3, metavar=("LOSS", "DTYPE", "SIDE"), help="one peak")
    options = parser.parse_args()
    setup = (options.rows, options.vocabulary, int(options.chunk_mib * MIB))
    if options.peak_of:
        name, dtype, side = options.peak_of
        print(peak_bytes(name, dtype, side, *setup))
        return
    cases = [(name, dtype) for name in LOSS_NAMES for dtype in DTYPES]
    # All peaks first: a process starts with the peak of the one that started it (execve(2)
    # keeps ru_maxrss), and this one grows with its timings.
    peaks = {(*case, side): peak_in_fresh_process(*case, side) for case in cases for side in SIDES}
    found = []
    for case in cases:
        seconds = times(*case, *setup, runs=options.runs)
        for side in SIDES:
            ratios = [a / b for a, b in zip(seconds[side], seconds["naive"], strict=True)]
            peak, naive_peak = peaks[*case, side], peaks[*case, "naive"]
            figures = {
                "peak_mib": peak / MIB,
                "peak_over_naive": peak / naive_peak,
                "seconds": statistics.median(seconds[side]),
                "seconds_over_naive": statistics.median(ratios),
            }
            found.append(((*case, side), figures))
    if options.json:
        rows = [dict(zip(("loss", "dtype", "side"), of, strict=True)) | row for of, row in found]
        print(json.dumps({"setup": vars(options), "found": rows}, indent=2))
        return
    title = f"{options.rows} target tokens, V = {options.vocabulary}, forward and backward"
    table = Table("loss", "logits", "", "peak MiB", "of naive", "s", "of naive", title=title)
    for of, row in found:
        table.add_row(
            *of,
            f"{row['peak_mib']:.0f}",
            f"{row['peak_over_naive']:.2f}",
            f"{row['seconds']:.2f}",
            f"{row['seconds_over_naive']:.2f}",
        )
    result_console().print(table, soft_wrap=False)


def naive(name: str, logits: Tensor, targets: Tensor, large: Predictions) -> Tensor:
    """The loss as one would write it from equations 7 and 8."""
    log_p = F.log_softmax(logits.float(), dim=-1)
    loss = F.nll_loss(log_p.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)
    alpha = (log_p.detach().argmax(dim=-1) == targets) | (large.argmax == targets)
    if name == "cat-dist" and large.logits is not None:
        p_large = F.softmax(large.logits.float(), dim=-1)
        loss = W * loss - (1 - W) * (p_large * log_p).sum(dim=-1)
    return (alpha * loss).sum()


def step(
    name: LossName,
    side: Side,
    chunk_bytes: int,
    logits: Tensor,
    targets: Tensor,
    large: Predictions,
) -> tuple[Tensor, Tensor]:
    """The mean loss by target token, as a trainer takes it, and its gradient."""
    if side == "naive":
        total = naive(name, logits, targets, large)
    else:
        total = token_loss(
            name,
            logits,
            targets,
            large,
            w=W,
            overwrite=side == "overwrite",
            chunk_bytes=chunk_bytes,
        ).total
    loss = total / targets.numel()
    return loss.detach(), torch.autograd.grad(loss, logits)[0]


def batch(dtype: torch.dtype, rows: int, V: int) -> tuple[Tensor, Tensor, Predictions]:
    """Random logits; a half of the labels is p_S's argmax, a quarter p_L's; no large temporary."""
    generator = torch.Generator().manual_seed(0)
    logits, large = (
        torch.empty(1, rows, V, dtype=dtype).normal_(generator=generator) for _ in range(2)
    )
    targets = torch.randint(V, (1, rows), generator=generator)
    predictions = Predictions(argmax=large.argmax(dim=-1), logits=large)
    targets[:, ::2] = logits[:, ::2].argmax(dim=-1)
    targets[:, 1::4] = predictions.argmax[:, 1::4]
    return logits.requires_grad_(), targets, predictions


def times(
    name: LossName, dtype: str, rows: int, V: int, chunk_bytes: int, *, runs: int
) -> dict[Side, list[float]]:
    """Seconds of each side, in turn, so that a busy moment hits all."""
    source, targets, large = batch(DTYPES[dtype], rows, V)
    logits = source.detach().clone().requires_grad_()
    seconds: dict[Side, list[float]] = {side: [] for side in SIDES}
    losses = {}
    for run in range(runs + 1):
        for side in SIDES:
            with torch.no_grad():
                logits.copy_(source)  # one side writes into it
            started = time.perf_counter()
            loss, _ = step(name, side, chunk_bytes, logits, targets, large)
            if run:  # the first one warms up
                seconds[side].append(time.perf_counter() - started)
            losses[side] = loss
    for loss in losses.values():
        torch.testing.assert_close(loss, losses["naive"], rtol=1e-4, atol=1e-4)
    return seconds


def peak_in_fresh_process(name: str, dtype: str, side: str) -> int:
    """This script again, for one peak, with the options it was given."""
    given = [argument for argument in sys.argv[1:] if argument != "--json"]
    command = [sys.executable, __file__, *given, "--peak-of", name, dtype, side]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def peak_bytes(name: LossName, dtype: str, side: Side, rows: int, V: int, chunk_bytes: int) -> int:
    """How far the process's peak rises over what it holds with both models' logits made."""
    run: Callable[..., object] = functools.partial(step, name, side, chunk_bytes)
    run(*batch(DTYPES[dtype], 8, 64))  # what the first call of an op loads is not the loss's
    full = batch(DTYPES[dtype], rows, V)
    before = peak_rss()
    run(*full)
    return max(peak_rss() - before, resource.getpagesize())  # nothing smaller shows


def peak_rss() -> int:
    """Bytes."""
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2)
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
