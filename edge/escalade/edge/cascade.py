"""Both tiers of a cascade and what decides between them; knows no query."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from escalade.edge.deferral import DeferralRule, EarlyStop
from escalade.edge.errors import CalibrationError
from escalade.edge.generation import Artifact
from escalade.edge.wire import Clock, CloudClient, LargeModel, PromptForm, SystemClock

#: When generation may end before the response does: never, as soon as deferral is certain,
#: or as soon as it is likely.
Early = Literal["off", "certain", "likely"]


@dataclass(frozen=True, kw_only=True)
class Cascade:
    """A small model, perhaps a large one, and the rule between them."""

    artifact: Artifact
    rule: DeferralRule
    #: tau; None: not calibrated, which goes with `large` being None.
    threshold: float | None
    #: None: everything is answered on the device.
    large: LargeModel | None
    early: Early
    clock: Clock

    @classmethod
    def of(
        cls,
        artifact: Artifact,
        cloud: CloudClient | None,
        *,
        threshold: float | None,
        prompt_form: PromptForm,
        early: Early,
        clock: Clock | None,
    ) -> Cascade:
        """Put an artifact and a cloud together; for the arguments see `EdgeClient`.

        Raises:
            CalibrationError: there is a cloud to defer to but no threshold, or it is not finite;
                or nothing says what is likely.
        """
        deferral, model = artifact.manifest.deferral, artifact.manifest.model
        tau = deferral.threshold if threshold is None else threshold
        if cloud is not None and tau is None:
            raise not_calibrated(artifact)
        if tau is not None and not math.isfinite(tau):
            raise CalibrationError(f"threshold must be a finite number, got {tau}")
        if early == "likely" and (deferral.early is None or tau != deferral.threshold):
            why = (
                "was not calibrated to stop early"
                if deferral.early is None
                else f"was calibrated to stop early under threshold {deferral.threshold}, not {tau}"
            )
            raise CalibrationError(f"{artifact.folder}: {why}; 'certain' needs no calibration")
        large = None
        if cloud is not None:
            large = LargeModel(
                cloud, tokenizer_fingerprint=model.tokenizer_fingerprint, prompt_form=prompt_form
            )
        return cls(
            artifact=artifact,
            rule=artifact.rule,
            threshold=tau,
            large=large,
            early=early,
            clock=clock or SystemClock(),
        )

    def early_stop(self, longest: int) -> EarlyStop | None:
        """The test for stopping a response of at most so many tokens; None: it runs to the end."""
        if self.early == "off" or self.large is None or self.threshold is None:
            return None
        likely = self.artifact.manifest.deferral.early if self.early == "likely" else None
        return EarlyStop(self.rule, self.threshold, longest, likely=likely)


def not_calibrated(artifact: Artifact) -> CalibrationError:
    """What is missing where there is no threshold."""
    return CalibrationError(
        f"{artifact.folder}: not calibrated: run `escalade calibrate`, or give a threshold"
    )
