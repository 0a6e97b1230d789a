"""A trace on a network, whatever the thresholds; knows no threshold, and no profile by name.

What does not depend on thresholds is worked out once, so that a replay is a few sums over the
queries. The baseline, last tier only, makes the same recorded call for every query, without the
draft.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from escalade.edge.trace import links_of
from escalade.simulator.errors import SimulatorError
from escalade.simulator.network import Network
from escalade.simulator.recorded import Bools, Floats, RecordedTier
from escalade.simulator.replay.course.recording import Counts, Recording, recording_of
from escalade.simulator.replay.course.spending import Spending, spending_of
from escalade.simulator.replay.course.trips import trips_of
from escalade.simulator.replay.setting import AS_RECORDED, EarlyDeferral, Setting


@dataclass(frozen=True)
class Course:
    """A trace on a network, whatever the thresholds: T tiers, N queries.

    Attributes:
        tiers: T.
        network: a profile for each link.
        seed: of jitter and loss.
        seconds: of each tier `(V, N)`, see `RecordedTier.at_levels`; a call ends at its deadline.
        waits_s: the same, were there no deadline.
        silent: `(T, N)` which calls it ends.
        last_only_s: `(N,)` latency of the last tier's answer, were every query put to it alone; at
            most the deadline.
        last_only_lost: `(N,)` whether there is then none.
        bytes_up: `(T, N)` what a call to each tier sends, gRPC framing and draft included.
        bytes_down: `(T, N)` what it receives.
        draft_bytes: `(N,)` how many bytes to the last tier are the draft.
        again: `(T, N)` which calls are made a second time; their bytes are in `spending` alone.
        correct: `(T, N)` 1 where a tier's answer is right; None where some were not judged.
        spending: of the device's battery, and of money on links.
        early: ends answers of which deferral is certain; None: all run to their end.
        kept: `(T, N)` which queries a policy keeps from which tiers; None: it keeps none.
        setting: what is other than it was recorded.
    """

    tiers: list[RecordedTier]
    network: Network
    seed: int
    seconds: list[Floats]
    waits_s: list[Floats]
    silent: Bools
    last_only_s: Floats
    last_only_lost: Bools
    bytes_up: Counts
    bytes_down: Counts
    draft_bytes: Counts
    again: Bools
    correct: Floats | None
    spending: Spending
    early: EarlyDeferral | None
    kept: Bools | None
    setting: Setting

    @staticmethod
    def of(
        tiers: list[RecordedTier],
        networks: Sequence[Network],
        *,
        seed: int,
        setting: Setting = AS_RECORDED,
        kept: Bools | None = None,
    ) -> list[Course]:
        """Send every query to every tier, on each network.

        Args:
            tiers: all of a trace, at least 2.
            networks: each a profile for each link.
            seed: see `trips_of`.
            setting: what is other than it was recorded.
            kept: see `Course`.

        Raises:
            SimulatorError: the trace has 1 tier, a link has no profile, the seed is out of range;
                there is a deadline, and a link leads to the first tier or to members of one; or
                answers are to end early, and the trace cannot tell when (`EarlyDeferral`).
        """
        if len(tiers) < 2:  # noqa: PLR2004
            raise SimulatorError(
                f"a replay needs at least 2 tiers; the trace has {len(tiers)}:"
                f" {', '.join(tier.info.name for tier in tiers)}"
            )
        recording, correct = recording_of(tiers), _correct(tiers)
        if setting.deadline_s < math.inf:
            _check_deadline(tiers, recording)
        early = None
        if setting.room is not None:
            early = EarlyDeferral(tiers, recording.linked, setting.room, setting.scale)
        courses = []
        for network in networks:
            trips = trips_of(tiers, recording, network, seed, setting)
            waits_s, alone_s = trips.seconds, trips.alone_s
            most_s = [setting.deadline_s if linked else math.inf for linked in recording.linked]
            seconds = [np.minimum(one, most) for one, most in zip(waits_s, most_s, strict=True)]
            courses.append(
                Course(
                    tiers=tiers,
                    network=network,
                    seed=seed,
                    seconds=seconds,
                    waits_s=waits_s,
                    silent=np.array(
                        [one[-1] > most for one, most in zip(waits_s, most_s, strict=True)]
                    ),
                    last_only_s=np.minimum(alone_s, most_s[-1]),
                    last_only_lost=alone_s > most_s[-1],
                    bytes_up=recording.bytes_up,
                    bytes_down=recording.bytes_down,
                    draft_bytes=recording.draft_bytes[-1],
                    again=trips.again,
                    correct=correct,
                    spending=spending_of(tiers, recording, trips, network, setting.watts),
                    early=early,
                    kept=kept,
                    setting=setting,
                )
            )
        return courses


def _check_deadline(tiers: Sequence[RecordedTier], recording: Recording) -> None:
    if recording.linked[0]:
        raise SimulatorError(
            f"a deadline needs a first tier that always answers, and a link leads to"
            f" {tiers[0].info.name!r}"
        )
    for tier, linked in zip(tiers, recording.linked, strict=True):
        if linked and any(answer.link is None and links_of(answer) for answer in tier.answers):
            raise SimulatorError(
                f"a deadline is replayed of one call to a tier, and tier {tier.info.name!r} has"
                " members elsewhere, each with one of its own"
            )


def _correct(tiers: Sequence[RecordedTier]) -> Floats | None:
    flags = [[answer.correct for answer in tier.answers] for tier in tiers]
    if any(None in of_tier for of_tier in flags):
        return None
    return np.array(flags, dtype=np.float64)
