"""Agreements beside one another, of the same members at the accuracy of one vote; knows no file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.study_ensembles.cascades import Bench, Cascade
from benchmarks.study_ensembles.report.seeds import Interval, Row, gain, row_of
from benchmarks.study_ensembles.report.tables import accuracy, points
from benchmarks.study_online.report.tables import NONE, markdown

from escalade.edge.deferral import VOTE

#: Their names, and whether voices are weighted; the first is what others stand beside.
_OF_LABELS = ((VOTE, False), (VOTE, True), ("mean-score", False), ("mean-score", True))
#: Labels are no texts that could be alike.
_OF_TEXTS = (*_OF_LABELS, ("similarity:chrf", False), ("similarity:edit", False))
_MEMBERS = 3


class Ruled(NamedTuple):
    """A size's members before the last tier, by one agreement."""

    size: str
    rule: str
    row: Row
    vote: Row

    @property
    def calls(self) -> float:
        """The share that is sent on."""
        return self.row.mean(lambda one: one.last_calls)

    @property
    def calls_of_vote(self) -> float:
        """The share that the vote sends on."""
        return self.vote.mean(lambda one: one.last_calls)

    @property
    def difference(self) -> Interval:
        """How many more answers are right than by the vote."""
        return gain(self.row, self.vote)


def by_rules(benches: Sequence[Bench], *, texts: bool) -> list[Ruled]:
    """Each size below the last by each agreement, at a unanimous vote's validated accuracy.

    Args:
        benches: of a task, one for each seed.
        texts: answers are texts and not labels.
    """
    found = []
    for size in benches[0].lower:
        if not all(size in bench.lower and bench.has((size,), _MEMBERS) for bench in benches):
            continue
        vote: Row | None = None
        for rule, weighted in _OF_TEXTS if texts else _OF_LABELS:

            def choose(
                bench: Bench, size: str = size, rule: str = rule, weighted: bool = weighted
            ) -> Cascade:
                unanimous = bench.measure(bench.agreeing((size,), _MEMBERS, 1.0), bench.valid)
                goal = unanimous.accuracy
                return bench.under(rule, size, _MEMBERS, weighted=weighted, goal=goal)

            row = row_of(benches, choose)
            vote = vote or row
            found.append(Ruled(size, row.title, row, vote))
    return found


def rules_table(found: Sequence[Ruled]) -> str:
    """Calls and accuracy, measured."""
    rows = [
        [
            f"{one.size} x{_MEMBERS}",
            one.rule,
            f"{100 * one.calls:.1f} %",
            accuracy(one.row),
            NONE if one.row is one.vote else points(one.difference),
        ]
        for one in found
    ]
    return markdown(["tier", "agreement", "sent on", "right, %", "beside the vote"], rows)


def which_rule(found: Sequence[Ruled]) -> list[str]:
    """A sentence for each agreement but the vote, over all tasks."""
    lines = []
    for rule in dict.fromkeys(one.rule for one in found if one.row is not one.vote):
        of = [one for one in found if one.rule == rule]
        gains = [one.difference for one in of]
        calls, vote = (
            100 * sum(shares) / len(of)
            for shares in ([one.calls for one in of], [one.calls_of_vote for one in of])
        )
        better, worse = sum(one.low > 0 for one in gains), sum(one.high < 0 for one in gains)
        lines.append(
            f"By {rule} in place of the plain vote, each at the validated accuracy of a unanimous"
            f" vote: {calls:.1f} % are sent on and not {vote:.1f} % (means of {len(of)}"
            f" comparisons), at {100 * sum(one.value for one in gains) / len(of):+.2f} points;"
            f" right more often in {better} and less often in {worse}, counting those whose"
            " interval leaves out 0."
        )
    return lines
