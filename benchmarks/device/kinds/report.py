"""Tables of kinds: what they lost, and how fast they are; measures nothing."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.device import figures
from benchmarks.device.contestants import Contestant
from benchmarks.device.kinds.quality import Lost
from benchmarks.device.report import spread_of
from benchmarks.device.rounds import Measured
from rich.table import Table

_PEERS = ("llama.cpp", "genai")


def ratios(measured: Measured, contestants: list[Contestant]) -> Table:
    """Decoding, ours over theirs, round by round."""
    seconds = {(s.name, s.threads, s.round): s.timing.decode_s for s in measured.samples}
    table = Table("ours", "theirs", title="Decode speed, ours over theirs: median (low to high)")
    counts = sorted({threads for _, threads, _ in seconds})
    for threads in counts:
        table.add_column(f"{threads} thr.")
    for ours in (one.name for one in contestants if one.kind == "escalade"):
        for theirs in (one.name for one in contestants if one.kind in _PEERS):
            cells = []
            for threads in counts:
                rounds = [r for name, t, r in seconds if (name, t) == (ours, threads)]
                quotients = [
                    seconds[theirs, threads, r] / seconds[ours, threads, r] for r in rounds
                ]
                cells.append(spread_of(figures.Spread.of(quotients), 2))
            table.add_row(ours, theirs, *cells)
    return table


def own_tool_table(
    own: Mapping[str, Mapping[int, Mapping[int, float]]], rows: list[figures.Row]
) -> Table:
    """What llama-bench says of each of llama.cpp's kinds beside our loop around it.

    Args:
        own: tokens a second, by name, threads and prompt.
        rows: our loop's, which reads log-probabilities; llama-bench reads nothing.
    """
    table = Table(
        "weights", "threads", "prompt", "llama-bench", "our loop", title="Decode tok/s of llama.cpp"
    )
    for name, by_threads in own.items():
        for threads, by_prompt in by_threads.items():
            for prompt, rate in by_prompt.items():
                loop = [
                    spread_of(row.decode, 1)
                    for row in rows
                    if (row.name, row.threads, row.prompt) == (name, threads, prompt)
                ]
                table.add_row(name, str(threads), str(prompt), f"{rate:.1f}", *loop)
    return table


def table_of(
    rows: list[figures.Row],
    contestants: list[Contestant],
    lost: dict[str, Lost],
    parameters: int,
    tokens: int,
) -> Table:
    """Bits, loss and speed of each kind."""
    table = Table("weights", "bits", "mean KL", "p99", "same argmax", title=f"{tokens} tokens")
    settings = list(dict.fromkeys((row.threads, row.prompt) for row in rows))
    for threads, prompt in settings:
        table.add_column(f"decode tok/s, {threads} thr., prompt {prompt}")
        table.add_column(f"prefill, {threads} thr.")
    for one in contestants:
        cells = [
            spread_of(value, digits)
            for setting in settings
            for row in rows
            if (row.threads, row.prompt) == setting and row.name == one.name
            for value, digits in ((row.decode, 1), (row.prefill, 0))
        ]
        its = lost[one.name]
        table.add_row(
            one.name, f"{8 * one.program_bytes / parameters:.2f}", f"{its.mean_kl:.4f}",
            f"{its.p99_kl:.3f}", f"{its.same_argmax:.1%}", *cells,
        )  # fmt: skip
    return table
