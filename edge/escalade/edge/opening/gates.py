"""The gate after a tier, of what the file and the artifact say of it; asks no tier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from escalade.edge.cascade_file import GateTable, TierTable, voices_in
from escalade.edge.deferral import (
    EMBEDDING,
    ROUTER,
    VOTE,
    Gate,
    Medoid,
    agreement_named,
    rule_named,
)
from escalade.edge.errors import CalibrationError, CascadeError
from escalade.edge.generation import SentenceEncoder
from escalade.edge.opening.options import OpenOptions
from escalade.edge.tiers import Member


def open_gate(
    where: Path,
    name: str | None,
    tier: TierTable,
    members: Sequence[Member],
    options: OpenOptions,
    encoder: SentenceEncoder | None = None,
) -> Gate:
    """The gate after a tier, with what the artifact says where the file says nothing.

    Args:
        where: the cascade's file, or the artifact that is one.
        name: the tier's; None where the artifact is the cascade.
        tier: what the file says of it.
        members: those of the tier that are on this device.
        options: see `OpenOptions`; the early end that is asked for goes before the file's.
        encoder: of sentences, where the file names one for the gate.

    Raises:
        CalibrationError: the threshold is not finite, or the artifact was not calibrated to stop
            early under it.
        CascadeError: the rule is the artifact's router, and it has none.
    """
    table = tier.gate or GateTable()
    shown = str(where) if name is None else f"{where}: the gate of tier {name!r}"
    early = options.early if options.early != "off" else table.early
    if table.threshold is not None and not math.isfinite(table.threshold):
        raise CalibrationError(f"{shown}: threshold must be a finite number, got {table.threshold}")
    if encoder is not None:
        return Gate(rule=Medoid(EMBEDDING, encoder.similarity), threshold=table.threshold)
    if voices_in(tier) > 1:
        return Gate(rule=agreement_named(table.rule or VOTE), threshold=table.threshold)
    if not members:
        return Gate(rule=rule_named(table.rule or "mean"), threshold=table.threshold)
    artifact = members[0].artifact
    deferral = artifact.manifest.deferral
    # Another rule than the artifact's has no threshold but the file's.
    own = table.rule in {None, deferral.rule}
    if table.rule == ROUTER and not own:
        raise CascadeError(f"{shown}: rule {ROUTER!r}: {artifact.folder} has no router")
    tau = deferral.threshold if table.threshold is None and own else table.threshold
    if early == "likely" and (not own or deferral.early is None or tau != deferral.threshold):
        why = (
            "was not calibrated to stop early"
            if deferral.early is None or not own
            else f"was calibrated to stop early under threshold {deferral.threshold}, not {tau}"
        )
        raise CalibrationError(f"{artifact.folder}: {why}; 'certain' needs no calibration")
    rule = artifact.rule if own or table.rule is None else rule_named(table.rule)
    return Gate(rule=rule, threshold=tau, early=early, likely=deferral.early)
