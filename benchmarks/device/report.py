"""Prints a run's figures and writes them as JSON; measures nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from benchmarks.device.figures import Ratio, Row, Spread, verdict
from rich.console import Console
from rich.table import Table

#: What the score may cost, and what a process may hold beside its program.
SCORE_COST_TARGET = 0.02
MEMORY_TARGET = 120e6
IMPORT_TARGET_S = 0.5
BANDWIDTH_TARGET = 0.70


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that a run found."""

    settings: Mapping[str, object]
    machine: Mapping[str, str | int]
    versions: Mapping[str, str]
    builds: Mapping[str, str]
    #: Bytes a second, by threads.
    bandwidth: Mapping[int, Spread]
    #: What llama-bench itself says of its decoding, tokens a second, by threads and prompt.
    llama_bench: Mapping[int, Mapping[int, float]]
    rows: list[Row]
    ratios: list[Ratio]
    #: By threads; over the repetitions.
    score_cost: Mapping[int, Spread]
    import_s: float
    samples: list[object]

    def as_json(self) -> dict[str, object]:
        """Plain data, the raw samples included."""
        found = asdict(self)
        for plain, ratio in zip(found["ratios"], self.ratios, strict=True):
            plain["verdict"] = _of_ratio(ratio)
        return found


def print_report(console: Console, report: Report) -> None:
    """Tables: speeds, ratios, the rest."""
    for threads, prompt in dict.fromkeys((row.threads, row.prompt) for row in report.rows):
        console.print(_speeds(report, threads, prompt), soft_wrap=False)
    if report.ratios:
        console.print(_ratios(report.ratios), soft_wrap=False)
    console.print(_others(report), soft_wrap=False)
    for name, value in {**report.machine, **report.versions, **report.builds}.items():
        console.print(f"{name}: {value}")
    console.print(", ".join(f"{name} {value}" for name, value in report.settings.items()))


def _speeds(report: Report, threads: int, prompt: int) -> Table:
    table = Table(
        "program",
        "mode",
        "prefill tok/s",
        "decode tok/s",
        "decode tok/CPU s",
        "disturbed",
        "of bandwidth",
        title=f"{threads} thread{'s' * (threads > 1)}, prompt {prompt}: median (low to high)",
    )
    for row in report.rows:
        if (row.threads, row.prompt) == (threads, prompt):
            table.add_row(
                row.name,
                row.mode,
                spread_of(row.prefill, 0),
                spread_of(row.decode, 1),
                "" if row.decode_cpu is None else spread_of(row.decode_cpu, 1),
                f"{row.disturbed:.0%}",
                f"{row.bandwidth_share.median:.0%}",
            )
    return table


def _ratios(ratios: list[Ratio]) -> Table:
    table = Table(
        "threads", "prompt", "ours over theirs", "peer", "ratio", "of CPU time", "target", "",
        title="Ratios, round by round: median (low to high)",
    )  # fmt: skip
    for ratio in ratios:
        table.add_row(
            str(ratio.threads),
            str(ratio.prompt),
            ratio.what,
            ratio.peer,
            spread_of(ratio.speed, 2),
            "" if ratio.cpu is None else spread_of(ratio.cpu, 2),
            "other bits" if ratio.target is None else f">= {ratio.target}",
            _of_ratio(ratio),
        )
    return table


def _others(report: Report) -> Table:
    table = Table("what", "figure", "target", "", title="Cost of the score, bandwidth, footprint")
    for threads, rate in report.bandwidth.items():
        in_gb = Spread(median=rate.median / 1e9, low=rate.low / 1e9, high=rate.high / 1e9)
        table.add_row(f"memory read, {threads} thr., GB/s", spread_of(in_gb, 1), "", "")
    for threads, by_prompt in report.llama_bench.items():
        for prompt, own in by_prompt.items():
            loop = _loop(report.rows, threads, prompt)
            table.add_row(
                f"llama-bench's own decode, {threads} thr., prompt {prompt}, tok/s",
                f"{own:.1f}" + (f"; our loop around it, plain: {loop}" if loop else ""),
                "",
                "",
            )
    ours = [row for row in report.rows if row.name.startswith("escalade")]
    for row in ours:
        if row.mode == "scored":
            table.add_row(
                f"share of the bandwidth limit, {row.threads} thr., prompt {row.prompt}",
                f"{_percent(row.bandwidth_share)}; {row.bytes_per_token / 1e6:.1f} MB a token",
                f">= {BANDWIDTH_TARGET:.0%} (aim)",
                verdict(row.bandwidth_share, BANDWIDTH_TARGET, at_least=True),
            )
    for threads, cost in report.score_cost.items():
        table.add_row(
            f"cost of the score, {threads} thr.",
            _percent(cost, 1),
            f"<= {SCORE_COST_TARGET:.0%}",
            verdict(cost, SCORE_COST_TARGET, at_least=False),
        )
    for name in dict.fromkeys(row.name for row in report.rows):
        held = max(
            row.memory_over_program
            for row in report.rows
            if row.name == name and row.mode == "scored"
        )
        is_ours = name.startswith("escalade")
        table.add_row(
            f"peak memory over the program: {name}",
            f"{held / 1e6:.0f} MB",
            f"<= {MEMORY_TARGET / 1e6:.0f} MB" if is_ours else "",
            _verdict(held <= MEMORY_TARGET) if is_ours else "",
        )
    table.add_row(
        "from escalade.edge import EdgeClient",
        f"{report.import_s:.3f} s",
        f"<= {IMPORT_TARGET_S} s",
        _verdict(report.import_s <= IMPORT_TARGET_S),
    )
    return table


def _loop(rows: list[Row], threads: int, prompt: int) -> str:
    """What llama-bench's figure is to be held against: the first row that reads no logits."""
    for row in rows:
        key = (row.threads, row.prompt, row.mode)
        if row.name.startswith("llama.cpp") and key == (threads, prompt, "plain"):
            return spread_of(row.decode, 1)
    return ""


def spread_of(spread: Spread, digits: int) -> str:
    """Median, smallest and largest."""
    return f"{spread.median:.{digits}f} ({spread.low:.{digits}f} to {spread.high:.{digits}f})"


def _percent(spread: Spread, digits: int = 0) -> str:
    median, low, high = (f"{v:.{digits}%}" for v in (spread.median, spread.low, spread.high))
    return f"{median} ({low} to {high})"


def _of_ratio(ratio: Ratio) -> str:
    return "" if ratio.target is None else verdict(ratio.speed, ratio.target, at_least=True)


def _verdict(reached: bool) -> str:
    return "reached" if reached else "not reached"
