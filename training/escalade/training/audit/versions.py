"""Whether a device's model is worse than the one before it, out of traces; knows no store.

A version answers some queries, which are kept, and defers the others to the expert, the last tier.
Some kept queries ask the expert all the same (`EdgeClient.ask(shadow=True)`, `escalade record`):
these are audited. A deferred query has the expert's own answer, so that of all queries

    disagreement = share that is kept * share of the kept ones that disagree

and this is what versions are compared by: one that keeps more may disagree more among those it
keeps, and be as good. Both shares are within confidence sequences (`running_mean`), if whether a
kept query is audited does not depend on what it says.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from escalade.edge.artifact import Manifest, program_digest
from escalade.edge.trace import TierInfo, Trace, TraceRecord
from escalade.training.audit.running_mean import running_mean_interval

#: Probability that a version is called worse at any time though it is not.
ALPHA = 0.05
#: By how much less of all answers must agree. A threshold is set on some hundred queries, which
#: give a share near 0.95 to a point; what calibration cannot tell is no reason to go back.
MARGIN = 0.01
# Two shares of two versions.
_INTERVALS = 4


class VersionCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What the traces say of one version."""

    #: Those that some tier answered as was due.
    queries: int = 0
    #: Answered by this version itself.
    kept: int = 0
    #: Of those: asked the expert all the same, and said what the expert says.
    audited: int = 0
    agreed: int = 0


class VersionAgreement(msgspec.Struct, frozen=True, kw_only=True):
    """How often answers agree with the expert under one version, deferred ones included."""

    counts: VersionCounts
    #: At any time, all of both versions together with probability `1 - ALPHA`.
    low: float
    high: float

    @property
    def estimate(self) -> float | None:
        """None before the first audit."""
        seen = self.counts
        if not seen.audited:
            return None
        return 1.0 - seen.kept / seen.queries * (1.0 - seen.agreed / seen.audited)


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A version and the one before it."""

    current: VersionAgreement
    before: VersionAgreement
    worse: bool


def count_version(traces: Iterable[Trace], manifest: Manifest) -> VersionCounts:
    """What traces say of one version.

    Args:
        traces: of cascades whose first tier is one artifact; those of others are passed over, and
            so is one whose threshold was set by hand.
        manifest: of the version.
    """
    found = VersionCounts()
    for header, records in traces:
        if len(header.tiers) > 1 and _is_of(header.tiers[0], manifest):
            for record in records:
                found = _counted(found, record)
    return found


def compare_versions(current: VersionCounts, before: VersionCounts) -> Comparison:
    """Say whether the current version is worse, by more than `MARGIN`."""
    now, then = _agreement(current), _agreement(before)
    return Comparison(current=now, before=then, worse=now.high < then.low - MARGIN)


def _is_of(tier: TierInfo, manifest: Manifest) -> bool:
    deferral = manifest.deferral
    return (
        [member.program_sha256 for member in tier.members] == [program_digest(manifest)]
        and tier.threshold == deferral.threshold
        and tier.rule == deferral.rule
    )


def _counted(so_far: VersionCounts, record: TraceRecord) -> VersionCounts:
    first, last = record.tiers[0], record.tiers[-1]
    if first is None or record.outcome == "degraded":
        return so_far
    kept = record.answered_by == 0
    audited = kept and last is not None
    return VersionCounts(
        queries=so_far.queries + 1,
        kept=so_far.kept + kept,
        audited=so_far.audited + audited,
        agreed=so_far.agreed + (audited and last is not None and last.text == first.text),
    )


def _agreement(counts: VersionCounts) -> VersionAgreement:
    alpha = ALPHA / _INTERVALS
    kept = running_mean_interval(counts.kept, counts.queries, alpha)
    disagreed = running_mean_interval(counts.audited - counts.agreed, counts.audited, alpha)
    return VersionAgreement(
        counts=counts, low=1.0 - kept[1] * disagreed[1], high=1.0 - kept[0] * disagreed[0]
    )
