"""What each group's small model is on the device, and the calls it leaves; knows no artifact.

The same model at several widths has one quality for each: what a narrow one loses, the large
model above is asked for. So a width is judged by its bytes, its seconds, and the share of queries
that must be deferred before the cascade is as good as the large model alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from escalade.edge.trace import Trace
from escalade.simulator.curves import Split, split_at
from escalade.simulator.errors import SimulatorError
from escalade.simulator.evaluation.bootstrap import Estimate
from escalade.simulator.evaluation.results import Evaluation, OnDevice
from escalade.simulator.recorded import answered


def on_device(
    groups: Mapping[str, Sequence[Trace]],
    sizes: Mapping[str, int],
    rates: Evaluation,
    gate: str | None = None,
) -> list[OnDevice]:
    """What stands on the device, group by group, under the first rule.

    Args:
        groups: traces by the name of their model.
        sizes: bytes of each artifact, by its `program_sha256` in the traces.
        rates: the evaluation of the groups at the cost `deferral_rate`.
        gate: as it was evaluated: the tier before it is on the device.

    Raises:
        SimulatorError: a member on the device has no size.
    """
    found = []
    for row in rates.slices[0].headlines:
        if row.rule != rates.rules[0]:
            continue
        splits = [split_at(answered(row.group, one, []), gate) for one in groups[row.group]]
        found.append(
            OnDevice(
                group=row.group,
                bytes=float(np.mean([_bytes(row.group, split, sizes) for split in splits])),
                seconds=float(np.mean([_seconds(split) for split in splits])),
                small_quality=row.small_quality,
                calls_to_match=_rest(row.saved_at_large_quality),
            )
        )
    return found


def _bytes(group: str, split: Split, sizes: Mapping[str, int]) -> int:
    total = 0
    for member in split.tier.info.members:
        size = sizes.get(member.program_sha256 or "")
        if size is None:
            raise SimulatorError(
                f"{group}: no artifact of those given has the program of member {member.name!r}"
            )
        total += size
    return total


def _seconds(split: Split) -> float:
    """What the tier before the gate took: a machine that does other things too slows the mean."""
    return float(np.median([answer.seconds for answer in split.tier.answers]))


def _rest(saved: Estimate) -> Estimate:
    """1 - what is saved: of the calls that asking the large model alone takes."""

    def rest(share: float | None) -> float | None:
        return None if share is None else 1.0 - share

    return msgspec.structs.replace(
        saved, value=rest(saved.value), low=rest(saved.high), high=rest(saved.low)
    )
