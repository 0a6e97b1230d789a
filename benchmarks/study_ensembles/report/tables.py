"""The page's tables of one task; knows no file."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from benchmarks.study_ensembles.cascades import AGREEMENTS, Bench, Cascade, Measured
from benchmarks.study_ensembles.report.seeds import Interval, Row, gain, row_of
from benchmarks.study_online.report.tables import NONE, markdown
from numpy.typing import NDArray

from escalade.simulator.formats import count

#: Dollars for an hour, from the first tier to the last: the paper's table 1.
PRICES = {"V100": 0.5, "A6000": 0.8, "A100": 1.29, "H100": 2.49}
#: Seconds on exits, from the first tier to the last: section 4.2 of the paper.
DELAYS_S = (1e-6, 1e-2, 1e-1, 1.0)
_TWO, _THREE = (2, 3, 5), 3


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
        rows.append([name, accuracy(row), count(row.mean(lambda one: float(one.flops.mean())))])
    return markdown(["member", "right, %", "FLOPs"], rows)


def methods_table(rows: Sequence[tuple[str, Row]], best: Row) -> str:
    """Accuracy beside three ways to count compute, and calls over the last link."""
    cells = []
    for name, row in rows:
        ways = (
            lambda one: float(one.flops.mean()),
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


def against_confidence(benches: Sequence[Bench]) -> list[Against]:
    """Each way to agree before the last tier, beside the confidence of the size's best member."""
    found = []
    sizes = [size for size in benches[0].lower if all(size in b.lower for b in benches)]
    for size, members, agreement in itertools.product(sizes, _TWO, AGREEMENTS):
        if members == _TWO[0] and agreement < 1:
            continue  # of two, two thirds are both

        def voting(
            bench: Bench, size: str = size, members: int = members, agreement: float = agreement
        ) -> Cascade:
            return bench.agreeing((size,), members, agreement)

        def single(
            bench: Bench, size: str = size, members: int = members, agreement: float = agreement
        ) -> Cascade:
            wanted = bench.agreeing((size,), members, agreement)
            share = bench.measure(wanted, bench.valid).last_calls
            return bench.as_often(bench.best[size], share)

        title = f"{size} x{members}, {'2/3' if agreement < 1 else 'all'}"
        found.append(Against(title, row_of(benches, voting), row_of(benches, single)))
    return found


def against_confidence_table(found: Sequence[Against]) -> str:
    """Agreement before the last tier, and the confidence of one member that sends on as many."""
    rows = [
        [
            one.title,
            *(
                f"{100 * row.mean(lambda m: m.last_calls):.1f} %"
                for row in (one.agreement, one.confidence)
            ),
            accuracy(one.agreement),
            accuracy(one.confidence),
            points(one.difference),
        ]
        for one in found
    ]
    head = ["tier below the last", "sent on", "by one", "agreement", "confidence of one"]
    return markdown([*head, "difference"], rows)


class Dollars(NamedTuple):
    """For an hour, by tier where not said otherwise."""

    by_exit: NDArray[np.float64]
    by_member: NDArray[np.float64]
    #: The last tier's alone.
    alone: float

    @property
    def published(self) -> float:
        """As the paper adds up: what each tier's exits cost in it."""
        return float(self.by_exit.sum())

    @property
    def counted(self) -> float:
        """With every member of every tier that was asked."""
        return float(self.by_member.sum())


def dollars(row: Row) -> Dollars:
    """Of a cascade of all sizes, three members each and one in the last."""
    tiers = len(row.measured[0].exits)
    prices = np.array(list(PRICES.values())[-tiers:])
    exits = _mean([one.exits for one in row.measured])
    members = np.array([_THREE] * (tiers - 1) + [1])
    return Dollars(exits * prices, _reached(exits) * prices * members, float(prices[-1]))


def _reached(exits: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.cumsum(exits[::-1])[::-1], dtype=np.float64)


def tiers_table(benches: Sequence[Bench], row: Row, best: Row) -> str:
    """Table 2 of the paper: exits, dollars, latency and FLOPs by tier, published and counted."""
    tiers = len(row.measured[0].exits)
    exits, spent = _mean([one.exits for one in row.measured]), dollars(row)
    reached, seconds = _reached(exits), _mean([one.seconds for one in row.measured])
    rows = [
        ["answers", *(f"{share:.2f}" for share in exits), "1.00", "1.00"],
        ["is asked", *(f"{share:.2f}" for share in reached), "", "1.00"],
        ["$ an hour, as published", *_dollars(spent.by_exit), f"{spent.alone:.2f}"],
        ["$ an hour, all that ran", *_dollars(spent.by_member), f"{spent.alone:.2f}"],
        [
            "ms, slowest member",
            *(f"{1000 * one:.2f}" if one else NONE for one in seconds),
            *(_latency(seconds, reached), _milliseconds(best.measured)),
        ],
    ]
    head = ["", *(f"tier {k + 1}" for k in range(tiers)), "cascade", "best single"]
    return markdown(head, rows)


def _dollars(by_tier: NDArray[np.float64]) -> list[str]:
    return [*(f"{one:.2f}" for one in by_tier), f"{by_tier.sum():.2f}"]


def _latency(seconds: NDArray[np.float64], reached: NDArray[np.float64]) -> str:
    return f"{1000 * (seconds * reached).sum():.2f}" if seconds.all() else NONE


def _milliseconds(measured: Sequence[Measured]) -> str:
    found = float(np.mean([one.seconds[-1] for one in measured]))
    return f"{1000 * found:.2f}" if found else NONE


def delays_table(row: Row) -> str:
    """Figure 5 of the paper: delays on exits, and what an answer waits for them."""
    exits = _mean([one.exits for one in row.measured])
    delays = np.array([DELAYS_S[0], *DELAYS_S[len(DELAYS_S) - len(exits) + 1 :]])
    reached = _reached(exits)
    alone, published, crossed = delays[-1], (exits * delays).sum(), (reached * delays).sum()
    rows = [
        ["delay of a tier, s", ", ".join(f"{one:g}" for one in delays), ""],
        ["mean wait, s: the answering tier's delay", f"{published:.3f}", _times(alone, published)],
        ["mean wait, s: every link that was crossed", f"{crossed:.3f}", _times(alone, crossed)],
        ["calls over the last link", f"{exits[-1]:.3f}", _times(1.0, exits[-1])],
    ]
    return markdown(["", "cascade", "all to the last tier"], rows)


def _times(alone: float, cascade: float) -> str:
    return f"{alone / cascade:.1f} times" if cascade else NONE


def agreements_table(benches: Sequence[Bench]) -> str:
    """Table 3 of the paper: agreements that are wrong, and how often the last tier is too."""
    rows = []
    sizes = [size for size in benches[0].lower if all(size in b.lower for b in benches)]
    for size, members, agreement in itertools.product(sizes, (2, 3, 4), AGREEMENTS):
        if members == _TWO[0] and agreement < 1:
            continue
        stand = wrong = both = total = 0
        for bench in benches:
            measured = bench.measure(bench.agreeing((size,), members, agreement), bench.measured)
            last = bench.measure(Cascade(("last",)), bench.measured).correct
            here = measured.answered_by == 0
            stand += int(here.sum())
            wrong += int((here & ~measured.correct).sum())
            both += int((here & ~measured.correct & ~last).sum())
            total += len(here)
        rows.append(
            [
                f"{size} x{members}, {'2/3' if agreement < 1 else 'all'}",
                f"{100 * stand / total:.1f} %",
                f"{wrong:,}",
                f"{both:,}",
                f"{100 * both / wrong:.0f} %" if wrong else NONE,
            ]
        )
    return markdown(["tier", "agree", "wrong", "last tier wrong too", "share"], rows)


def _mean(values: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.asarray(np.mean(values, axis=0), dtype=np.float64)
