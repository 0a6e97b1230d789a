"""What queries take: the records of a trace, or numbers in their place; knows no arrival."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from escalade.edge.trace import TierAnswer, TierInfo, Trace, links_of
from escalade.simulator.errors import FleetError, SimulatorError
from escalade.simulator.fleet.description import MOST_S, Answers, CloudTable, Group
from escalade.simulator.fleet.engine import Bools, Floats, Ints
from escalade.simulator.network import Network, get_profile
from escalade.simulator.recorded import (
    MOST_QUERIES,
    answered,
    read_sample,
    recorded_thresholds,
    tiers_of,
)
from escalade.simulator.replay import GRPC_BYTES_DOWN, GRPC_BYTES_UP, Course, Replay

#: Queries in place of a trace's, all alike likely: the rarest is 1 in 4,096.
_PARTS = 4096


@dataclass(frozen=True)
class Queries:
    """R queries that those of a group are drawn from.

    Attributes:
        device_s: `(R,)` what the device takes.
        defers: `(R,)` whether the query then goes up.
        cloud_s: `(R,)` what the cloud takes for it alone.
        beside_s: `(R,)` what the call took beside, over loopback; a fit has it in `cloud_s`.
        bytes_up: `(R,)` what the call sends, gRPC's framing included,
        bytes_down: `(R,)` and receives.
        gateway_s: `(R,)` what a gateway takes for it alone; 0 where there is none,
        goes_on: `(R,)` and whether it then goes on to the cloud; then all that comes does.
        notes: what its reader should know of them.
    """

    device_s: Floats
    defers: Bools
    cloud_s: Floats
    beside_s: Floats
    bytes_up: Ints
    bytes_down: Ints
    gateway_s: Floats
    goes_on: Bools
    notes: tuple[str, ...] = ()

    @property
    def called(self) -> Bools:
        """Which come to the cloud."""
        return self.defers & self.goes_on

    @property
    def deferral_rate(self) -> float:
        """Share of the queries that go up."""
        return float(self.defers.mean())


def queries_of(group: Group, cloud: CloudTable, folder: Path, seed: int) -> Queries:
    """What a group's queries take.

    Args:
        group: with a trace or with answers.
        cloud: where it has seconds of a start and of a token, its calls take these.
        folder: that a trace's path is relative to.
        seed: of what is drawn.

    Raises:
        DataError: the trace cannot be read.
        SimulatorError: it lacks answers, thresholds do not fit, a link leads to more than its
            last tier, or there are no tokens of one model to reckon a call's seconds from.
    """
    if group.answers is not None:
        return _told(group.answers, cloud, group.scale, seed)
    return _recorded(folder / (group.trace or ""), group, cloud, seed)


def _told(told: Answers, table: CloudTable, scale: float, seed: int) -> Queries:
    if 0 < told.deferral_rate < 1 / _PARTS:
        raise FleetError(
            f"deferral_rate must be 0 or in [{1 / _PARTS:g}, 1]; got {told.deferral_rate:g}"
        )
    unit = np.ones(1) if told.spread == "constant" else exponential_parts(_PARTS)
    # Three shuffles of their own, so that nothing goes with anything else.
    rng = np.random.default_rng(seed)
    many = _PARTS
    device, cloud = (rng.permutation(np.resize(unit, many)) for _ in range(2))
    defers = rng.permutation(many) < round(told.deferral_rate * many)
    gateway_s, goes_on = np.zeros(many), np.ones(many, np.bool_)
    if told.gateway_s is not None and told.gateway_deferral_rate is not None:
        gateway_s = told.gateway_s * rng.permutation(np.resize(unit, many))
        # Of those that come to it, so that small shares are of these too.
        above = np.flatnonzero(defers)
        goes_on[above] = rng.permutation(len(above)) < round(
            told.gateway_deferral_rate * len(above)
        )
    if told.tokens is not None:
        cloud_s = _fitted_s(table, told.tokens * cloud)
    else:
        cloud_s = (told.cloud_s or 0.0) * cloud
    return Queries(
        device_s=scale * told.device_s * device,
        defers=defers,
        cloud_s=cloud_s,
        beside_s=np.zeros(many),
        bytes_up=np.full(many, told.bytes_up + GRPC_BYTES_UP),
        bytes_down=np.full(many, told.bytes_down + GRPC_BYTES_DOWN),
        gateway_s=gateway_s,
        goes_on=goes_on,
    )


def exponential_parts(many: int) -> Floats:
    """The unit exponential as so many equally likely values, each the mean of its part; mean 1."""
    left = 1 - np.arange(many + 1) / many
    edges = -np.log(left[:-1])
    tails = np.append(left[:-1] * (1 + edges), 0.0)  # what lies beyond each edge, of the mean
    return -np.diff(tails) * many


def _fitted_s(table: CloudTable, tokens: Floats) -> Floats:
    """What calls of so many tokens take a server that was fitted, alone (`escalade load --fit`)."""
    cloud_s = (table.start_s or 0.0) + (table.token_s or 0.0) * tokens
    if (most := float(cloud_s.max())) > MOST_S:
        raise FleetError(
            f"start_s and token_s: a call must take at most {MOST_S:g} s; one of"
            f" {tokens.max():,.0f} tokens takes {most:g}"
        )
    return np.asarray(cloud_s)


@dataclass(frozen=True)
class RecordedQueries:
    """Those of a trace, of which thresholds say how far up each comes.

    Attributes:
        course: of the trace, over no network.
        scale: of the device's seconds.
        gateway_s: `(R,)`; this and the rest as `Queries` has it.
        cloud_s: `(R,)`.
        beside_s: `(R,)`.
        goes_on: `(R,)`.
        notes: on the trace.
    """

    course: Course
    scale: float
    gateway_s: Floats
    cloud_s: Floats
    beside_s: Floats
    goes_on: Bools
    notes: tuple[str, ...]

    def under(self, thresholds: Sequence[float]) -> Queries:
        """Under thresholds, one for each gate.

        Raises:
            SimulatorError: too few or too many, or one is no number.
        """
        found = Replay.of(self.course, thresholds)
        reached = found.climb.reached
        spent = [
            np.where(come, table[level], 0.0)
            for table, level, come in zip(
                self.course.seconds[:-1], found.climb.levels, reached, strict=False
            )
        ]
        return Queries(
            device_s=self.scale * np.sum(spent, axis=0),
            defers=reached[-1],
            cloud_s=self.cloud_s,
            beside_s=self.beside_s,
            bytes_up=self.course.bytes_up[-1],
            bytes_down=self.course.bytes_down[-1],
            gateway_s=self.gateway_s,
            goes_on=self.goes_on,
            notes=self.notes,
        )


def _recorded(path: Path, group: Group, table: CloudTable, seed: int) -> Queries:
    # What is drawn for devices is drawn from no more.
    notes: list[str] = []
    whole = read_sample(path, MOST_QUERIES, seed, notes)
    try:
        trace = answered(path.name, whole, notes)
        recorded = recorded_of(path, trace, group, table, seed, notes)
        given = group.thresholds
        return recorded.under(recorded_thresholds(trace.header.tiers) if given is None else given)
    except FleetError:
        raise
    except SimulatorError as error:
        raise type(error)(f"{path}: {error}") from error


def recorded_of(
    path: Path,
    trace: Trace,
    group: Group,
    table: CloudTable,
    seed: int,
    notes: Sequence[str] = (),
) -> RecordedQueries:
    """What a trace's queries take those of a group, whatever the thresholds.

    Args:
        path: that messages call the trace.
        trace: every tier's answer to every query.
        group: whose queries they are.
        table: of the cloud; see `queries_of`.
        seed: of what is drawn.
        notes: of the trace.

    Raises:
        SimulatorError: see `queries_of`.
    """
    (course,) = Course.of(tiers_of(trace), [Network(get_profile("free"))], seed=seed)
    for k, tier in enumerate(course.tiers):
        is_last = k == len(course.tiers) - 1
        if any(
            answer.link is None if is_last else bool(links_of(answer)) for answer in tier.answers
        ):
            raise FleetError(
                f"{path}: a link must lead to the last tier of a fleet and to no other; of tier"
                f" {tier.info.name!r} some answers came over {'none' if is_last else 'one'}"
            )
    last = course.tiers[-1].answers
    links = [answer.link for answer in last if answer.link is not None]
    round_trip_s = np.array([max(link.round_trip_s, link.server_s) for link in links])
    gateway_s, cloud_s = np.zeros(len(last)), np.array([link.server_s for link in links])
    goes_on = np.ones(len(last), np.bool_)
    if group.gateway is not None:
        gateway_s, cloud_s, goes_on = _through_gateway(path, group.gateway, last)
        if group.past_gateway is not None and not goes_on.all():
            raise FleetError(
                f"{path}: past_gateway of group {group.name!r} needs what the cloud takes for all"
                f" queries; {(~goes_on).sum():,} of {len(goes_on):,} stayed at the gateway"
            )
        round_trip_s = np.maximum(round_trip_s, gateway_s + cloud_s)
    beside_s = round_trip_s - cloud_s - gateway_s
    if table.token_s is not None:
        tokens = _tokens(path, course.tiers[-1].info, last, goes_on, group.gateway)
        cloud_s = np.where(goes_on, _fitted_s(table, tokens), 0.0)
        if group.gateway is None:  # else it is of the call to the gateway
            beside_s = np.zeros(len(last))
    return RecordedQueries(
        course=course,
        scale=group.scale,
        gateway_s=gateway_s,
        cloud_s=cloud_s,
        beside_s=beside_s,
        goes_on=goes_on,
        notes=tuple(notes),
    )


def _through_gateway(
    path: Path, gateway: str, answers: Sequence[TierAnswer]
) -> tuple[Floats, Floats, Bools]:
    """What a gateway took for each query, what the cloud behind it, and whether that was asked.

    Raises:
        FleetError: an answer came through none, or through more than one tier behind it.
    """
    for answer in answers:
        if not 1 <= len(answer.hops) <= 2:  # noqa: PLR2004 - the gateway's own, and the cloud's
            raise FleetError(
                f"{path}: answers of a group with gateways ({gateway!r}) must have come through one"
                f" and at most one tier behind it; one came through {len(answer.hops)} tiers"
            )
    own = np.array([answer.hops[0].seconds for answer in answers])
    beyond = np.array([sum(hop.seconds for hop in answer.hops[1:]) for answer in answers])
    return own, beyond, np.array([len(answer.hops) > 1 for answer in answers])


def _tokens(
    path: Path, tier: TierInfo, answers: Sequence[TierAnswer], goes_on: Bools, gateway: str | None
) -> Floats:
    """What the cloud's model wrote for each query that came to it; 0 for the others.

    Raises:
        FleetError: not one model was the whole of the cloud.
    """
    counts = []
    for answer, asked in zip(answers, goes_on.tolist(), strict=True):
        *others, last = answer.members
        is_one = not others
        if asked and gateway is not None:  # whose models come first
            is_one = bool(others) and answer.hops[-1].model == tier.members[last.member].name
        if asked and not is_one:
            names = ", ".join(tier.members[one.member].name for one in answer.members)
            behind = "" if gateway is None else " behind its gateways"
            raise FleetError(
                f"{path}: start_s and token_s are of a cloud of one model{behind}; an answer of"
                f" tier {tier.name!r} is of {names}"
            )
        counts.append(last.generated_tokens if asked else 0)
    return np.array(counts, dtype=np.float64)
