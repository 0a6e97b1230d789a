"""Holds what the emulated device did against the manifest, prints it; knows no qemu, no tree."""

from __future__ import annotations

import math

import msgspec
from rich.table import Table

from escalade.cli.output import result_console
from escalade.edge.deferral.rules import defers


class Tolerance(msgspec.Struct, frozen=True):
    """How far the device may be from the manifest."""

    #: |NLL there - NLL in the manifest|, mean over an answer's tokens.
    nll: float
    #: Least share of golden prompts with the manifest's tokens.
    same_tokens: float


# Golden answers that were given by the same kernels on the same processor.
ITS_OWN = Tolerance(1e-6, 1.0)
# With float32 activations only the order of additions differs. Where activations are rounded to 8
# bits, a processor without a dot product of bytes computes in float32 instead (mlas,
# qnbitgemm_kernel_neon.cpp), and near ties may fall otherwise. As in `Artifact.check_golden`.
_FLOAT32, _ROUNDED = Tolerance(1e-4, 1.0), Tolerance(0.05, 0.95)
TOLERANCES = {
    "none": _FLOAT32,
    "float16": _FLOAT32,
    "int8": _ROUNDED,
    "int4": _ROUNDED,
    "dynamic-int8": _ROUNDED,
}


class Golden(msgspec.Struct):
    """What the device answered to a golden prompt."""

    prompt: str
    same_ids: bool
    same_tokens: bool
    nll: float
    golden_nll: float


class Played(msgspec.Struct):
    """What `on_device.py` prints."""

    machine: str
    dot_product: bool
    system: str
    versions: dict[str, str]
    answers: list[Golden]
    error: str | None

    def words(self) -> str:
        """What it ran on, in one line."""
        dot = "with" if self.dot_product else "without"
        versions = (f"{package} {version}" for package, version in self.versions.items())
        return f"{self.machine} {dot} dot product, {self.system}; {', '.join(versions)}"


class Asked(msgspec.Struct):
    """What is used of `escalade ask --json`."""

    answer: str
    outcome: str
    score: float
    threshold: float


class Row(msgspec.Struct, kw_only=True):
    """One artifact on one processor."""

    cpu: str
    scheme: str
    tolerance: Tolerance
    prompts: int = 0
    same_tokens: int = 0
    #: None: no golden prompt was answered.
    max_abs_delta_nll: float | None = None
    #: Golden prompts that are deferred, or kept, as where the artifact was calibrated.
    same_decision: int = 0
    deferred: Asked | None = None
    answered: Asked | None = None
    #: Outcomes of what `escalade listen` was asked over HTTP; of the first scheme alone.
    listened: list[str] = []
    failures: list[str] = []

    def take_golden(self, played: Played, *, dot_product: bool, threshold: float) -> None:
        """Judge the golden prompts.

        Args:
            played: what the device says.
            dot_product: what the processor should have.
            threshold: the artifact's tau.
        """
        if (played.machine, played.dot_product) != ("aarch64", dot_product):
            self.failures.append(f"not the processor it stands for: {played.words()}")
        if played.error is not None:
            self.failures.append(played.error)
        for answer in played.answers:
            delta = answer.nll - answer.golden_nll
            if not answer.same_ids:
                self.failures.append(f"{answer.prompt!r}: other prompt ids")
            if not abs(delta) <= self.tolerance.nll:  # NaN too
                self.failures.append(f"{answer.prompt!r}: NLL off by {delta:+.2g}")
            self.prompts += 1
            self.same_tokens += answer.same_tokens
            self.max_abs_delta_nll = max(self.max_abs_delta_nll or 0.0, abs(delta))
            decided, golden = (defers(nll, threshold) for nll in (answer.nll, answer.golden_nll))
            self.same_decision += decided == golden
        if not self.prompts:
            self.failures.append("no golden prompt was answered")
        if self.same_tokens < self.tolerance.same_tokens * self.prompts:
            others = [answer.prompt for answer in played.answers if not answer.same_tokens]
            self.failures.append(f"other tokens: {', '.join(map(repr, others))}")

    def take_asked(self, asked: Asked, prompt: str, *, by_large: str | None) -> None:
        """Judge one query: `by_large` is what the server must have answered, None is nothing."""
        outcome = "answered" if by_large is None else "deferred"
        if asked.outcome != outcome:
            self.failures.append(f"escalade ask {prompt!r}: {asked.outcome}, not {outcome}")
        if by_large is None:
            self.answered = asked
            return
        self.deferred = asked
        if asked.answer != by_large:
            self.failures.append(f"escalade ask {prompt!r}: {asked.answer!r}, not {by_large!r}")

    def take_listened(self, outcomes: list[str]) -> None:
        """Judge what the endpoint answered to the surest prompt and to the least sure one."""
        self.listened = outcomes
        if outcomes != ["answered", "deferred"]:
            self.failures.append(f"escalade listen: {outcomes}, not answered and deferred")


def failures_of(rows: list[Row]) -> list[str]:
    """All of them, each with its place."""
    return [f"{row.cpu}, {row.scheme}: {text}" for row in rows for text in row.failures]


def show(rows: list[Row], devices: dict[str, Played], failures: list[str], seconds: float) -> None:
    """For people."""
    console = result_console()
    table = Table(
        "cpu", "scheme", "golden prompts", "same tokens", "max |delta NLL|",
        "same decision", "asked, unsure", "asked, sure", "over HTTP",
    )  # fmt: skip
    for row in rows:
        delta = "none" if row.max_abs_delta_nll is None else f"{row.max_abs_delta_nll:.1e}"
        table.add_row(
            row.cpu, row.scheme, str(row.prompts),
            f"{row.same_tokens} (at least {math.ceil(row.tolerance.same_tokens * row.prompts)})",
            f"{delta} (at most {row.tolerance.nll:g})", str(row.same_decision),
            *("" if asked is None else asked.outcome for asked in (row.deferred, row.answered)),
            ", ".join(row.listened),
        )  # fmt: skip
    console.print(table, soft_wrap=False)
    for cpu, device in devices.items():
        console.print(f"{cpu}: {device.words()}")
    console.print(
        "An aarch64 check under emulation, not a phone: it says nothing of speed, memory or energy."
    )
    for line in failures:
        console.print(f"FAILED {line}")
    verdict = f"{len(failures)} failures" if failures else "all as it should be"
    console.print(f"{verdict}; took {seconds:.0f} s")
