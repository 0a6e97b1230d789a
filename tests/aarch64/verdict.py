"""Holds what the emulated device did against what it should; knows no qemu, no tree."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
from rich.table import Table

from escalade.cli.output import result_console
from escalade.edge.artifact import GoldenEntry
from escalade.edge.deferral.rules import defers


class Tolerance(msgspec.Struct, frozen=True):
    """How far the device may be from the manifest."""

    #: |NLL there - NLL in the manifest|, mean over an answer's tokens.
    nll: float
    #: Least share of golden prompts with the manifest's tokens.
    same_tokens: float


# Golden answers that were given by the same kernels on the same processor.
ITS_OWN = Tolerance(1e-6, 1.0)
# With float32 activations only the order of additions differs.
FLOAT32 = Tolerance(1e-4, 1.0)
# Activations rounded to 8 bits: near ties may fall otherwise. As in `Artifact.golden`.
_ROUNDED = Tolerance(0.05, 0.95)
TOLERANCES = {
    "none": FLOAT32,
    "float16": FLOAT32,
    "int8": _ROUNDED,
    "int4": _ROUNDED,
    "dynamic-int8": _ROUNDED,
}
# A processor without a dot product of bytes multiplies these in float32 (mlas,
# qnbitgemm_kernel_neon.cpp): it is held to what float32 activations give, and as closely.
ROUNDED_BY_DOT_PRODUCTS = ("int8", "int4")


class Played(msgspec.Struct):
    """What `on_device.py` prints."""

    machine: str
    dot_product: bool
    system: str
    versions: dict[str, str]
    #: To the manifest's golden prompts, in their order.
    answers: list[GoldenEntry]
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
    #: From what this processor should give. None: no golden prompt was answered.
    max_abs_delta_nll: float | None = None
    #: From the manifest's golden answers.
    max_from_manifest: float | None = None
    #: Golden prompts that are deferred, or kept, as where the artifact was calibrated.
    same_decision: int = 0
    deferred: Asked | None = None
    answered: Asked | None = None
    #: Outcomes of what `escalade listen` was asked over HTTP; of the first scheme alone.
    listened: list[str] = []
    failures: list[str] = []

    def take_golden(
        self,
        played: Played,
        *,
        dot_product: bool,
        threshold: float,
        manifest: Sequence[GoldenEntry],
        expected: Sequence[GoldenEntry],
    ) -> None:
        """Judge the golden prompts.

        Args:
            played: what the device says.
            dot_product: what the processor should have.
            threshold: the artifact's tau.
            manifest: the artifact's golden answers.
            expected: what such a processor should give to the same prompts.
        """
        if (played.machine, played.dot_product) != ("aarch64", dot_product):
            self.failures.append(f"not the processor it stands for: {played.words()}")
        if played.error is not None:
            self.failures.append(played.error)
        if len(played.answers) != len(manifest) or not manifest:
            self.failures.append(
                f"{len(played.answers)} of {len(manifest)} golden prompts answered"
            )
            return
        others, deltas, from_manifest = [], [], []
        for found, golden, due in zip(played.answers, manifest, expected, strict=True):
            deltas.append(found.nll - due.nll)
            from_manifest.append(abs(found.nll - golden.nll))
            if (found.prompt, found.prompt_ids) != (due.prompt, due.prompt_ids):
                self.failures.append(f"{due.prompt!r}: other prompt ids")
            if not abs(deltas[-1]) <= self.tolerance.nll:  # NaN too
                self.failures.append(f"{due.prompt!r}: NLL off by {deltas[-1]:+.2g}")
            if found.token_ids != due.token_ids:
                others.append(due.prompt)
            decided, there = (defers(nll, threshold) for nll in (found.nll, golden.nll))
            self.same_decision += decided == there
        self.prompts = len(manifest)
        self.same_tokens = self.prompts - len(others)
        self.max_abs_delta_nll = max(map(abs, deltas))
        self.max_from_manifest = max(from_manifest)
        if self.same_tokens < self.tolerance.same_tokens * self.prompts:
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
        "from the manifest's", "same decision", "asked, unsure", "asked, sure", "over HTTP",
    )  # fmt: skip
    for row in rows:
        delta, moved = (
            "none" if each is None else f"{each:.1e}"
            for each in (row.max_abs_delta_nll, row.max_from_manifest)
        )
        table.add_row(
            row.cpu, row.scheme, str(row.prompts),
            f"{row.same_tokens} (at least {math.ceil(row.tolerance.same_tokens * row.prompts)})",
            f"{delta} (at most {row.tolerance.nll:g})", moved, str(row.same_decision),
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
