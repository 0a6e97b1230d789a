"""How often kept answers are what the last tier says, while a gateway serves; knows no feed.

Answers of the last tier come later than the queries that they are about: each run of queries is
counted when the audit that ends it is over, in the order in which they came. The interval is that
of a confidence sequence at these times, and holds at all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from threading import Lock

from escalade.cloud.backends import Gauge
from escalade.training.audit import Audit, Interval
from escalade.training.online import Parser


@dataclass
class Since:
    """Queries since the last one that was kept and audited."""

    #: Kept, and not sampled.
    unsampled: int = 0
    #: Kept and sampled, and the last tier could not be asked.
    missed: int = 0
    #: Sampled, and answered by the last tier.
    deferred: int = 0
    #: Alarms that had gone off when that one was put to the last tier.
    alarms: int = 0


class Auditing:
    """An audit of one gateway since it was started; for any thread."""

    def __init__(self, labels: Sequence[str], share: float, epsilon: float) -> None:
        """Begin.

        Args:
            labels: of all classes.
            share: of the queries that are sampled, in (0, 1).
            epsilon: the share of all queries that may be kept and not be the expert's, in (0, 1):
                what is promised, and what the alarm is for.
        """
        self._parser = Parser(labels)
        self._audit = Audit(share, promised=1.0 - epsilon)
        self._lock = Lock()
        # Apart: who answers a query never waits for a bound to be computed.
        self._counting, self._since = Lock(), Since()

    def keep(self) -> None:
        """Count a query that was kept and not sampled."""
        with self._counting:
            self._since.unsampled += 1

    def miss(self) -> None:
        """Count one that was kept and sampled, and is not put to the last tier."""
        with self._counting:
            self._since.missed += 1

    def defer(self) -> None:
        """Count one that was sampled, and that the last tier has answered."""
        with self._counting:
            self._since.deferred += 1

    def begin(self) -> Since:
        """Take one that was kept and sampled, and is put to the last tier: `end` is its end."""
        with self._counting:
            since, self._since = self._since, Since()
        since.alarms = self._audit.alarms
        return since

    def end(self, since: Since, kept: str, expert: str | None) -> bool:
        """Count it, in the order in which they began; says whether the alarm goes off.

        Args:
            since: what came before it.
            kept: what was answered.
            expert: what the last tier says; None where it does not.
        """
        with self._lock:
            for _ in range(since.unsampled):
                self._audit.record(None)
            for _ in range(since.missed):
                self._audit.lose()
            for _ in range(since.deferred):
                self._audit.defer()
            if expert is None:
                self._audit.lose()
            else:
                # Others that waited when the alarm went off were kept by what it was for.
                watched = since.alarms == self._audit.alarms
                self._audit.record(self._parser.label(expert) == kept, watched=watched)
            return self._audit.alarm

    def interval(self) -> Interval:
        """Agreement over the kept queries up to the last audit."""
        with self._lock:
            return self._audit.interval()

    def gauges(self) -> Iterable[Gauge]:
        """What was found."""
        found = self.interval()
        yield Gauge("learning_audited", "Kept answers that were audited.", self._audit.audited)
        if found.estimate is not None:
            yield Gauge(
                "learning_agreement", "Share of kept answers as the last tier's.", found.estimate
            )
        yield Gauge("learning_agreement_low", "Its lower bound, at all times.", found.low)
        yield Gauge("learning_agreement_high", "Its upper bound, at all times.", found.high)
        yield Gauge("learning_alarms", "Times it was less than promised.", self._audit.alarms)
