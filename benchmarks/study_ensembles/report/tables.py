"""The page's tables of one task; knows no file."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from benchmarks.study_ensembles.cascades import AGREEMENTS, Bench, Cascade, Measured
from benchmarks.study_ensembles.report.seeds import Interval, Row, gain, row_of
from benchmarks.study_online.report.tables import NONE, markdown

from escalade.simulator.formats import count

_TWO = (2, 3, 5)


def accuracy(row: Row) -> str:
    """In percent, with the spread over seeds."""
    return f"{100 * row.mean(_right):.1f} ± {100 * row.spread(_right):.1f}"


def points(of: Interval) -> str:
    """A difference of shares, in points."""
    return f"{100 * of.value:+.1f} ({100 * of.low:+.1f} to {100 * of.high:+.1f})"


def _right(one: Measured) -> float:
    return one.accuracy


def members_table(benches: Sequence[Bench]) -> str:
    """Every member alone."""
    rows = []
    for name in [one.tiers[0] for one in benches[0].singles()]:
        row = row_of(benches, lambda bench, name=name: Cascade((name,), (), name))  # type: ignore[misc]
        rows.append([name, accuracy(row), count(row.mean(lambda one: one.compute))])
    return markdown(["member", "right, %", "FLOPs"], rows)


def methods_table(rows: Sequence[tuple[str, Row]], best: Row) -> str:
    """Accuracy beside three ways to count compute, and calls over the last link."""
    cells = []
    for name, row in rows:
        ways = (
            lambda one: one.compute,
            lambda one: float(one.flops_in_turn.mean()),
            lambda one: one.flops_published,
        )
        cells.append(
            [
                name,
                accuracy(row),
                NONE if row is best else points(gain(row, best)),
                *(count(row.mean(way)) for way in ways),
                f"{100 * row.mean(lambda one: one.last_calls):.1f} %",
            ]
        )
    head = ["", "right, %", "beside the best single", "FLOPs, all", "in turn", "as published"]
    return markdown([*head, "last link"], cells)


class Against(NamedTuple):
    """A tier of members that agree, and one member that sends as many queries on."""

    title: str
    agreement: Row
    confidence: Row

    @property
    def difference(self) -> Interval:
        """How many more answers are right by agreement."""
        return gain(self.agreement, self.confidence)


class Way(NamedTuple):
    """How members of one size agree before the last tier."""

    size: str
    members: int
    agreement: float

    @property
    def title(self) -> str:
        """In a table."""
        return f"{self.size} x{self.members}, {'2/3' if self.agreement < 1 else 'all'}"

    def of(self, bench: Bench) -> Cascade:
        """The cascade."""
        return bench.agreeing((self.size,), self.members, self.agreement)


def _ways(benches: Sequence[Bench], members: Sequence[int]) -> list[Way]:
    sizes = [size for size in benches[0].lower if all(size in b.lower for b in benches)]
    return [
        Way(*one)
        for one in itertools.product(sizes, members, AGREEMENTS)
        # Of two, two thirds are both.
        if benches[0].has(one[:1], one[1]) and (one[1] > _TWO[0] or one[2] == 1)
    ]


def against_confidence(benches: Sequence[Bench]) -> list[Against]:
    """Each way to agree, beside the confidence of the size's best member: as many calls."""

    def single(bench: Bench, way: Way) -> Cascade:
        share = bench.measure(way.of(bench), bench.valid).last_calls
        return bench.as_often(bench.best[way.size], share)

    return _against(benches, single)


def against_compute(benches: Sequence[Bench]) -> list[Against]:
    """Each way to agree, beside one model's confidence: as much compute, all that ran counted."""

    def single(bench: Bench, way: Way) -> Cascade:
        spent = bench.measure(way.of(bench), bench.valid).flops
        return bench.as_costly(bench.cautious(way.size), float(spent.mean()))

    return _against(benches, single)


def _against(benches: Sequence[Bench], single: Callable[[Bench, Way], Cascade]) -> list[Against]:
    return [
        Against(
            way.title,
            row_of(benches, way.of),
            row_of(benches, lambda bench, way=way: single(bench, way)),  # type: ignore[misc]
        )
        for way in _ways(benches, _TWO)
    ]


def against_compute_table(found: Sequence[Against]) -> str:
    """Agreement before the last tier, and the confidence of one member that computes as much."""
    return _against_table(found, "FLOPs", lambda row: count(row.mean(lambda one: one.compute)))


def against_confidence_table(found: Sequence[Against]) -> str:
    """Agreement before the last tier, and the confidence of one member that sends on as many."""
    return _against_table(
        found, "sent on", lambda row: f"{100 * row.mean(lambda one: one.last_calls):.1f} %"
    )


def _against_table(found: Sequence[Against], equal: str, shown: Callable[[Row], str]) -> str:
    """What is to be equal of both, and how right each is."""
    rows = [
        [
            one.title,
            *(shown(row) for row in (one.agreement, one.confidence)),
            *(accuracy(row) for row in (one.agreement, one.confidence)),
            points(one.difference),
        ]
        for one in found
    ]
    head = ["tier below the last", equal, "by one", "agreement", "confidence of one", "difference"]
    return markdown(head, rows)


def agreements_table(benches: Sequence[Bench]) -> str:
    """Table 3 of the paper: agreements that are wrong, and how often the last tier is too."""
    rows = []
    for way in _ways(benches, (2, 3, 4)):
        stand = wrong = both = total = 0
        for bench in benches:
            measured = bench.measure(way.of(bench), bench.measured)
            last = bench.measure(Cascade(("last",)), bench.measured).correct
            here = measured.answered_by == 0
            stand += int(here.sum())
            wrong += int((here & ~measured.correct).sum())
            both += int((here & ~measured.correct & ~last).sum())
            total += len(here)
        rows.append(
            [
                way.title,
                f"{100 * stand / total:.1f} %",
                f"{wrong:,}",
                f"{both:,}",
                f"{100 * both / wrong:.0f} %" if wrong else NONE,
            ]
        )
    return markdown(["tier", "agree", "wrong", "last tier wrong too", "share"], rows)
