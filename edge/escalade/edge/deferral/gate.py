"""What stands between a tier and the next: a rule and its threshold; knows no tier, no network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from escalade.edge.deferral.agreement import Agreement
from escalade.edge.deferral.early import EarlyStop
from escalade.edge.deferral.entry import EarlyEntry
from escalade.edge.deferral.rule import DeferralRule
from escalade.edge.deferral.rules import defers

#: When a tier may end before its answer does: never, as soon as deferral is certain, or as soon
#: as it is likely.
Early = Literal["off", "certain", "likely"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """The deferral rule after a tier, with its threshold."""

    #: Of the log-probabilities of a tier of one member, or of what several agree on.
    rule: DeferralRule | Agreement
    #: tau; None: not calibrated, which goes with no tier to defer to.
    threshold: float | None
    early: Early = "off"
    #: What is likely, where `early` asks for it.
    likely: EarlyEntry | None = None

    def defers(self, score: float) -> bool:
        """Whether a query of that score goes on to the next tier (equation 4)."""
        return self.threshold is not None and defers(score, self.threshold)

    @property
    def reads_logprobs(self) -> bool:
        """Whether it decides by log-probabilities, of which the last bits may differ."""
        return not isinstance(self.rule, Agreement) or self.rule.reads_logprobs

    def early_stop(self, longest: int) -> EarlyStop | None:
        """The test for stopping a response of at most so many tokens; None: it runs to the end."""
        if self.early == "off" or self.threshold is None or isinstance(self.rule, Agreement):
            return None
        likely = self.likely if self.early == "likely" else None
        return EarlyStop(self.rule, self.threshold, longest, likely=likely)
