"""An alarm when agreement falls below what it has been; knows no query and no coin.

The null hypothesis: agreement never falls. The probability that the i-th audited answer agrees,
given the past, is no smaller than that of any before it; it may rise while the cascade learns.

The baseline is a lower bound of what agreement has been. For audits since any one of some starts,

    exp(t * agreed - audited * log(1 - p + p exp(t)))

is at most a martingale at the running mean p of their probabilities, whatever these are (the
logarithm is concave in p: Jensen), so that p is rejected where the mixture over t > 0 reaches
1/alpha_start (Howard et al. 2021, Annals of Statistics 49:1055-1080; Robbins' mixture). Starts
lie at 0 and at doubling counts, so that slow beginnings are forgotten; their alphas sum to alpha.
Under the null a bound that has held once holds for every later answer.

The detector is an e-detector of the Shiryaev-Roberts kind (Shin, Ramdas and Rinaldo 2022,
E-detectors: a nonparametric framework for sequential change detection, arXiv 2203.03532):
`M <- (M + 1) e`, with e the likelihood ratio of a fall against the baseline, of mean 1 at most
under the null. It fires at `M >= arl`. Where the baseline holds, the mean number of audits to a
false alarm is at least `arl`, and the probability of one within the first T is at most T / arl.

Where agreement was promised, that is the baseline instead: the null hypothesis is that the promise
holds, and agreement may fall as far as it allows.
"""

from __future__ import annotations

import msgspec
import numpy as np

from escalade.training.audit.mixture import LOG_WEIGHTS, TILTS, Floats, log_sum_exp

#: Audits after which a second start is taken; then at twice as many, and so on.
_FIRST = 16
#: The probability that a baseline is too high at any time between two alarms.
BASELINE_ALPHA = 0.05
#: What the baseline rises by, and its highest value.
_STEP = 0.005
_HIGHEST = 1.0 - _STEP
#: Falls of the log-odds of agreement that are looked for: of 0.9 to 0.85, to 0.77 and to 0.67.
_FALLS = np.array([0.5, 1.0, 1.5])


class DetectorState(msgspec.Struct, forbid_unknown_fields=True):
    """What a detector has seen since its last alarm, in plain numbers."""

    audited: int = 0
    agreed: int = 0
    #: For each start but the first, how many had been audited and had agreed.
    starts: list[tuple[int, int]] = []
    baseline: float = 0.0
    #: For each fall that is looked for.
    evidence: list[float] = msgspec.field(default_factory=lambda: [0.0] * len(_FALLS))


class ChangeDetector:
    """Watches audited answers for a fall of their agreement.

    Args:
        arl: average run length: audits to a false alarm, at least, in the mean; > 1.
        state: of an earlier one with the same arguments.
        promised: the least probability of agreement, in (0, 1); None: what it has been.
    """

    def __init__(
        self, arl: float, state: DetectorState | None = None, *, promised: float | None = None
    ) -> None:
        self._arl, self._promised = arl, promised
        self.state = state or self._fresh()

    def add(self, agrees: bool) -> bool:
        """One more audited answer; says whether the alarm goes off, and then begins anew."""
        seen = self.state
        evidence = (np.array(seen.evidence) + 1.0) * _ratios(seen.baseline, agrees)
        if float(evidence.mean()) >= self._arl:
            self.state = self._fresh()
            return True
        seen.evidence = evidence.tolist()
        seen.audited += 1
        seen.agreed += agrees
        if self._promised is None:
            self._raise(seen)
        return False

    def _fresh(self) -> DetectorState:
        return DetectorState(baseline=self._promised or 0.0)

    def _raise(self, seen: DetectorState) -> None:
        """Take the baseline to what agreement has been."""
        while seen.baseline < _HIGHEST and _rejected(seen, seen.baseline + _STEP):
            seen.baseline += _STEP
        if seen.audited == _FIRST << len(seen.starts):
            seen.starts.append((seen.audited, seen.agreed))


def _ratios(baseline: float, agrees: bool) -> Floats:
    """Likelihood ratios of one answer, `(falls,)`: agreement is lower by a fall, or as it was."""
    fallen = np.exp(-_FALLS)
    ratios: Floats = (fallen if agrees else 1.0) / (1.0 - baseline + baseline * fallen)
    return ratios


def _rejected(seen: DetectorState, p: float) -> bool:
    """Whether agreement was above p on average, since one of the starts."""
    starts = np.array([(0, 0), *seen.starts])
    audited, agreed = (np.array([seen.audited, seen.agreed]) - starts).T[:, :, None]
    number = np.arange(1, len(starts) + 1)
    limits = np.log(number * (number + 1) / BASELINE_ALPHA)
    exponents = TILTS * agreed - audited * np.log1p(p * np.expm1(TILTS))
    return bool((log_sum_exp(LOG_WEIGHTS + exponents) >= limits).any())
