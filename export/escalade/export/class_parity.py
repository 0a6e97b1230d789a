"""Holds an exported classifier against what it was made from, on a few texts; needs no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from escalade.edge.artifact import GoldenEntry, ParityEntry, Scheme
from escalade.edge.base import counted
from escalade.edge.generation import Artifact
from escalade.export.errors import ExportParityError

# Of -log p, where weights are float32: sums in another order. Encoders of 2 to 12 layers and linear
# models came within 1e-5.
_FLOAT_NLL = 1e-4


def label_golden(artifact: Artifact, texts: Sequence[str]) -> list[GoldenEntry]:
    """What a classifier says of each text.

    Args:
        artifact: opened, its program runs here.
        texts: any.
    """
    golden = []
    for text in texts:
        prompt_ids = artifact.encode(text)
        (step,) = artifact.generate(prompt_ids)
        golden.append(
            GoldenEntry(
                prompt=text, prompt_ids=prompt_ids, token_ids=[step.token_id], nll=-step.logprob
            )
        )
    return golden


def measure_labels(
    golden: Sequence[GoldenEntry], references: Sequence[NDArray[np.floating]]
) -> ParityEntry:
    """Hold labels and their -log p against others' log-probabilities of all classes.

    Args:
        golden: what the program said, n texts.
        references: `(K,)` of each.
    """
    deltas, same = [], 0
    for entry, logprobs in zip(golden, references, strict=True):
        said = entry.token_ids[0]
        # Of classes that are as likely, either is right.
        same += bool(logprobs[said] >= logprobs.max() - _FLOAT_NLL)
        deltas.append(abs(entry.nll + float(logprobs[said])))
    return ParityEntry(
        prompts=len(golden),
        same_tokens=same,
        mean_abs_delta_nll=sum(deltas) / max(1, len(deltas)),
        max_abs_delta_nll=max(deltas, default=0.0),
    )


def check_labels_given(parity: ParityEntry, whose: str, *, scheme: Scheme) -> None:
    """Refuse a program that is not the classifier it was made from.

    Raises:
        ExportParityError: a log-probability is no number, whatever the scheme; or an unquantized
            program gives another label, or the same one another log-probability.
    """
    if not math.isfinite(parity.max_abs_delta_nll):
        raise ExportParityError(
            f"-log p of the golden texts must be finite; --quantize {scheme} does not hold this"
            " model"
        )
    if scheme == "none" and (
        parity.same_tokens != parity.prompts or parity.max_abs_delta_nll > _FLOAT_NLL
    ):
        raise ExportParityError(
            f"{parity.same_tokens} of {counted(parity.prompts, 'golden text')} have {whose}'s"
            f" label, and -log p is {parity.max_abs_delta_nll:.2g} off, at most {_FLOAT_NLL}"
        )
