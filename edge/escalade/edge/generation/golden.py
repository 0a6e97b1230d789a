"""Holds a program against the answers that its manifest says it gives; knows no text, no file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from escalade.edge.artifact import GoldenEntry, Manifest
from escalade.edge.deferral import mean_nll
from escalade.edge.errors import ParityError
from escalade.edge.runtimes import Step

# Two machines' float32 kernels differ in the last bits. Where activations are rounded to 8 bits,
# a processor without a dot product of bytes does not round at all: on the bundled model NLLs of 60
# answers then differ by up to 0.057, one by more than 0.05 (`make test-aarch64`). Such answers are
# in the share that may differ.
_EXACT, _ROUNDED = 0.001, 0.05
_ROUNDED_SHARE = 0.95
_EXACT_SCHEMES = {"none", "float16"}


def tolerance_of(manifest: Manifest) -> float:
    """By how much an NLL or a cosine of one program may differ from one machine to another."""
    return _EXACT if _is_exact(manifest) else _ROUNDED


def _is_exact(manifest: Manifest) -> bool:
    """Whether other machines compute the same but for the order of additions."""
    return manifest.quantization.scheme in _EXACT_SCHEMES


class GoldenAnswers:
    """What a program answers here to the golden prompts of its manifest."""

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        generate: Callable[[Sequence[int], int], Sequence[Step]],
    ) -> None:
        """Take what is held against what.

        Args:
            folder: what messages call the program.
            manifest: with its golden answers.
            generate: given a prompt's ids and how many tokens may come, gives a response.
        """
        self._folder = folder
        self._manifest = manifest
        self._generate = generate

    def answer(self, golden: GoldenEntry) -> GoldenEntry:
        """What the program answers here, no longer than it did."""
        steps = self._generate(golden.prompt_ids, len(golden.token_ids))
        return msgspec.structs.replace(
            golden,
            token_ids=[step.token_id for step in steps],
            nll=mean_nll([step.logprob for step in steps]),
        )

    def check(self, golden: GoldenEntry) -> None:
        """Hold the program against one answer.

        Raises:
            ParityError: other tokens, or an NLL further off than kernels explain.
        """
        found, tolerance = self.answer(golden), tolerance_of(self._manifest)
        if found.token_ids != golden.token_ids:
            raise ParityError(
                f"{self._folder}: golden prompt {golden.prompt!r} gave tokens {found.token_ids},"
                f" the manifest says {golden.token_ids}"
            )
        if not abs(found.nll - golden.nll) <= tolerance:
            raise ParityError(
                f"{self._folder}: golden prompt {golden.prompt!r} gave NLL {found.nll:.4f}, the"
                f" manifest says {golden.nll:.4f} (tolerance {tolerance})"
            )

    def check_all(self) -> int:
        """Hold the program against every answer; returns how many it gives.

        Raises:
            ParityError: fewer than kernels explain; about the first that it does not give.
        """
        golden, missed = self._manifest.golden, []
        for entry in golden:
            try:
                self.check(entry)
            except ParityError as error:
                missed.append(error)
        given = len(golden) - len(missed)
        if given < (1.0 if _is_exact(self._manifest) else _ROUNDED_SHARE) * len(golden):
            raise missed[0]
        return given
