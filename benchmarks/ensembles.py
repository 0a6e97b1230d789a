"""What an ensemble of three costs beside one of its members: time, and tokens that a vote spares.

Two ensembles of bundled models, int8, on queries of the test split: `small` is `small-xent`,
`small-cat-xent` (plain and cascade-aware cross-entropy from `small-base`) and `small-base`, in the
order in which the first two agree most; `large` is the large model three times, with scales for
blocks of 16, 32 and 64 weights: three programs, for time only, since they give the same answers.

Every query is put to all contestants before the next one is, each time in an order drawn for it:
what computed with 2 threads slows down the next, which must not always be the same. Ratios are of
the same query, to the mean of the three members alone. With `--repeats` all queries are asked so
often, in passes over all of them, and the least time of each counts: what else the machine does is
left out. Members compute with 1 thread; two cores compute, so that side by side means 2 members at
once, and the third after them if they disagree.

At 2/3 an answer that two of three give stands; tokens are those that members read and wrote, beside
those of the same queries with all members heard to their end.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from escalade.cli.output import note_console, result_console
from escalade.cli.process.quiet import quiet_third_party
from escalade.edge import Artifact, Cascade, EdgeClient
from escalade.edge.base import Record, subsample
from escalade.edge.deferral import Gate, Vote
from escalade.edge.tiers import ArtifactTier, EnsembleTier, Member
from escalade.export.artifact.artifact import export_artifact
from escalade.training.data import load_pronunciations, make_records

CHECKPOINTS = Path(__file__).parents[1] / "training" / "checkpoints"
#: By ensemble: checkpoints, and the weights that share a scale.
ENSEMBLES = {
    "small": [("small-xent", 64), ("small-cat-xent", 64), ("small-base", 64)],
    "large": [("large", 16), ("large", 32), ("large", 64)],
}
#: Two of three agree: one third gave another answer, which is below this.
TWO_THIRDS = 0.5
CORES = 2
ALL_HEARD = "in turn, all heard"
WARM_UP = 10


class Asked(NamedTuple):
    """What an answer took."""

    seconds: float
    tokens: int


class Row(NamedTuple):
    """One contestant beside a member alone, and its tokens beside all members'."""

    ensemble: str
    contestant: str
    median_ms: float
    median_ratio: float
    quarters: tuple[float, float]
    mean_ratio: float
    tokens: float


def contestants(folders: list[Path]) -> dict[str, EdgeClient]:
    """Each member alone, and all three in every way."""

    def alone(folder: Path, threads: int) -> EdgeClient:
        tier = ArtifactTier(Member(Artifact.open(folder, threads=threads)))
        return EdgeClient(Cascade(tiers=[tier], gates=[None]))

    def three(threshold: float | None, *, at_once: int | None) -> EdgeClient:
        members = [Member(Artifact.open(folder, threads=1)) for folder in folders]
        tier = EnsembleTier(members, side_by_side=at_once is not None, at_once=at_once)
        return EdgeClient(Cascade(tiers=[tier], gates=[Gate(rule=Vote(), threshold=threshold)]))

    return {
        **{f"{folder.name} alone": alone(folder, 1) for folder in folders},
        f"{folders[0].name} alone, {CORES} threads": alone(folders[0], CORES),
        "side by side, at 2/3": three(TWO_THIRDS, at_once=CORES),
        "side by side, all heard": three(None, at_once=CORES),
        "all begun at once, at 2/3": three(TWO_THIRDS, at_once=3),
        "in turn, at 2/3": three(TWO_THIRDS, at_once=None),
        ALL_HEARD: three(None, at_once=None),
    }


def measure(
    ensemble: str, folders: list[Path], records: list[Record], repeats: int = 1
) -> list[Row]:
    """Ask every query of everybody in turn, and of each of them so often."""
    found = list(contestants(folders).items())
    taken: dict[str, list[Asked]] = {name: [] for name, _ in found}
    for record in records[:WARM_UP]:
        for _, client in found:
            client.ask(record.prompt)  # kernels and threads are there from now on
    rng = np.random.default_rng(0)
    for again in range(repeats):
        for number, record in enumerate(records[WARM_UP:]):
            for place in rng.permutation(len(found)).tolist():
                name, client = found[place]
                began = time.perf_counter()
                answer = client.ask(record.prompt)
                spent = time.perf_counter() - began
                members = answer.said.members
                tokens = sum(one.prompt_tokens + one.generated_tokens for one in members)
                one = Asked(spent, tokens)
                if again == 0:
                    taken[name].append(one)
                else:
                    taken[name][number] = min(taken[name][number], one)
    beside = np.mean([_seconds(taken[f"{folder.name} alone"]) for folder in folders], axis=0)
    whole = sum(one.tokens for one in taken[ALL_HEARD])
    rows = []
    for name, those in taken.items():
        seconds = _seconds(those)
        low, median, high = np.quantile(seconds / beside, (0.25, 0.5, 0.75)).tolist()
        rows.append(
            Row(
                ensemble=ensemble,
                contestant=name,
                median_ms=1e3 * float(np.median(seconds)),
                median_ratio=median,
                quarters=(low, high),
                mean_ratio=float(seconds.mean() / beside.mean()),
                tokens=sum(one.tokens for one in those) / whole,
            )
        )
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--queries", type=int, default=500, help="of the test split")
    parser.add_argument("--repeats", type=int, default=1, help="of each query, the least counts")
    parser.add_argument("--ensemble", choices=ENSEMBLES, help="default: both")
    parser.add_argument("--artifacts", type=Path, help="folder that has them, or is to have them")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    quiet_third_party()
    records = list(make_records("test", load_pronunciations()))
    records = subsample(records, WARM_UP + options.queries)
    rows: list[Row] = []
    with ExitStack() as stack:
        folder = options.artifacts or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name in [options.ensemble] if options.ensemble else ENSEMBLES:
            rows += measure(name, artifacts(folder, name), records, options.repeats)
    if options.json:
        print(json.dumps([row._asdict() for row in rows], indent=2))
        return
    for name in dict.fromkeys(row.ensemble for row in rows):
        table = Table("", "ms", "ratio", "quarters", "of means", "tokens", title=name)
        for row in rows:
            if row.ensemble == name:
                low, high = row.quarters
                table.add_row(
                    row.contestant,
                    f"{row.median_ms:.2f}",
                    f"{row.median_ratio:.2f}",
                    f"{low:.2f} to {high:.2f}",
                    f"{row.mean_ratio:.2f}",
                    f"{row.tokens:.1%}",
                )
        result_console().print(table, soft_wrap=False)


def artifacts(folder: Path, ensemble: str) -> list[Path]:
    """The folders of an ensemble's members, exported where they are not there."""
    made = []
    for checkpoint, block in ENSEMBLES[ensemble]:
        made.append(folder / f"{checkpoint}-{block}")
        if not made[-1].exists():
            note_console().print(f"exporting {made[-1].name} ...")
            export_artifact(
                CHECKPOINTS / checkpoint,
                made[-1],
                quantize="int8",
                block_size=block,
                golden_prompts=["g2p: a"],
            )
    return made


def _seconds(those: list[Asked]) -> NDArray[np.float64]:
    return np.array([one.seconds for one in those])


if __name__ == "__main__":
    main()
