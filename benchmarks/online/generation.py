"""Whether a small language model defers less, round by round, as it learns from the large one.

    python -m benchmarks.online.generation --out runs/generation

The bundled tasks come as a stream, round by round. In each a cascade of the current version and
`escalade serve` of the large model answers new queries; then `escalade learn` makes the next
version of the traces so far. The stream is of the training split, which both models have seen when
they were trained; nobody's label is used, but in the old records that are replayed. The control has
learned from as many old records in as many steps, and nothing of the expert's. Measured is on the
validation split: choices made here would spoil the test split for others.

Rounds are kept as they end, so that a run that was cut off goes on; `--report` prints the table.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from escalade.cli.demo.processes import running
from escalade.cli.process.quiet import quiet_third_party
from escalade.edge import EdgeClient, OpenOptions
from escalade.edge.base import Record, subsample, write_records
from escalade.edge.calibration import answers_to, calibrate
from escalade.edge.deferral import QualityGoal, defers
from escalade.edge.generation import Artifact
from escalade.edge.store import Store, install
from escalade.edge.trace import read_trace
from escalade.export.artifact.artifact import export_artifact
from escalade.training.data import load_pronunciations, make_records

CHECKPOINTS = Path(__file__).parents[2] / "training" / "checkpoints"
SMALL, LARGE = "small-base", "large"
#: Always the same, so that a run that goes on asks the same expert.
LISTEN = "127.0.0.1:50917"
#: On a machine that others load, too.
PATIENT = OpenOptions(deadline_s=120.0, threads=1)
#: That ask at the same time, each with a trace of its own.
DEVICES = 8
#: Of what is kept: the expert is asked all the same, for `store rollback --audit`.
AUDIT = 0.05
#: Old records to draw the replayed ones from.
OLD = 30_000
#: The share of them among what is learned.
REPLAY = 0.75
#: Chosen on the validation split: twice the rate, as docs/training.md has it, with 150 steps and
#: 4,000 queries a round made a first version that is worse than the base model.
OPTIM = "batch_size = 128\nlearning_rate = 1e-3\nwarmup_steps = 20\n"
ESCALADE = (sys.executable, "-m", "escalade.cli")

Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one version does on the validation queries."""

    version: str
    #: Answers of the expert it has learned from.
    examples: int
    #: Under the threshold that it ships with: share deferred; of all answers, the expert's.
    deferred: float
    agreement: float
    #: Right answers, by the dictionary: of the cascade, and of the small model alone.
    right: float
    small_right: float
    #: The least share deferred at which as many answers as the goal says are the expert's; and at
    #: which the cascade is at most a point below the large model.
    deferred_at_goal: float
    deferred_within_a_point: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run depends on."""

    rounds: int
    stream: int
    calibrating: int
    held_out: int
    quality: float
    steps: int


def main() -> None:
    """Run all seeds, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("runs/generation"))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stream", type=int, default=10_000, help="queries in each round")
    parser.add_argument("--calibrating", type=int, default=500, help="for the first version")
    parser.add_argument("--held-out", type=int, default=1500)
    parser.add_argument("--quality", type=float, default=0.9, help="share that is the expert's")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--report", action="store_true", help="of what is there")
    options = parser.parse_args()
    quiet_third_party()
    settings = Settings(
        rounds=options.rounds,
        stream=options.stream,
        calibrating=options.calibrating,
        held_out=options.held_out,
        quality=options.quality,
        steps=options.steps,
    )
    if not options.report:
        options.out.mkdir(parents=True, exist_ok=True)
        with running("expert", "serve", str(CHECKPOINTS / LARGE), "--listen", LISTEN) as at:
            for seed in range(1, options.seeds + 1):
                Stream(options.out.resolve() / f"seed-{seed}", seed, settings, at).run()
    show([rows_of(folder) for folder in sorted(options.out.glob("seed-*"))], settings)


class Stream:
    """The queries of one seed, and the versions that learn from them."""

    def __init__(self, folder: Path, seed: int, settings: Settings, expert: str) -> None:
        self._folder, self._seed, self._settings, self._at = folder, seed, settings, expert
        self._store, self._traces = Store(folder / "store"), folder / "traces"

    def run(self) -> None:
        """Go on after the version that was kept last."""
        began_s = time.monotonic()
        stream, held_out = self._prepared()
        names = [str(number) for number in range(self._settings.rounds + 1)]
        for number, name in list(enumerate([*names, "control"]))[len(rows_of(self._folder)) :]:
            examples, artifact = 0, self._folder / "first"
            if name == "control":
                artifact = self._control()
            elif number:
                first = (number - 1) * self._settings.stream
                self._ask(number, stream[first : first + self._settings.stream])
                examples = self._learn()
                artifact = self._store.path_of(str(self._store.current))
            row = self._measured(name, artifact, examples, held_out, began_s)
            with (self._folder / "rows.jsonl").open("a") as file:
                file.write(json.dumps(asdict(row)) + "\n")
            print(f"seed {self._seed}: {row}", file=sys.stderr, flush=True)
            began_s = time.monotonic()

    def _prepared(self) -> tuple[list[Record], list[Record]]:
        """The stream, and the queries to measure on; made beside them is the first version."""
        self._traces.mkdir(parents=True, exist_ok=True)
        settings, pronunciations = self._settings, load_pronunciations()
        train = list(make_records("train", pronunciations))
        random.Random(self._seed).shuffle(train)  # noqa: S311 - no secret
        begins, ends = (
            settings.calibrating,
            settings.calibrating + settings.rounds * settings.stream,
        )
        held_out = subsample(list(make_records("valid", pronunciations)), settings.held_out)
        write_records(self._folder / "old.jsonl", train[ends : ends + OLD])
        first, data = self._folder / "first", self._folder / "calibrating.jsonl"
        if self._store.current is None:
            export_artifact(CHECKPOINTS / SMALL, first, quantize="int8", golden_prompts=["g2p: a"])
            said = self._expert_on(self._folder / "calibrating.json", train[:begins])
            write_records(data, map(answered, train[:begins], said))
            artifact = Artifact.open(first)
            answers = answers_to(artifact, data, judged=True)
            calibrate(artifact, answers, QualityGoal(target=settings.quality))
            install(str(first), self._store.folder)
        return train[begins:ends], held_out

    def _expert_on(self, kept: Path, records: Sequence[Record]) -> list[str]:
        """What the expert says to some queries; asked once."""
        if not kept.exists():
            said = [""] * len(records)

            def ask(device: int) -> None:
                first = self._folder / "first"
                with EdgeClient.open(first, PATIENT, cloud=self._at, calibrated=False) as client:
                    for place in range(device, len(records), DEVICES):
                        said[place] = client.ask_last(records[place].prompt).text

            side_by_side(ask)
            kept.write_text(json.dumps(said))
        told: list[str] = json.loads(kept.read_text())
        return told

    def _ask(self, number: int, records: Sequence[Record]) -> None:
        """Ask the cascade a round's queries, but for those it was asked before a cut."""
        coins = random.Random(f"{self._seed} {number}")  # noqa: S311 - no secret
        asked = [(record, coins.random() < AUDIT) for record in records]
        current = self._store.path_of(str(self._store.current))

        def ask(device: int) -> None:
            trace = self._traces / f"round-{number:02}-{device}.jsonl"
            done = len(read_trace(trace).records) if trace.exists() else 0
            if done == len(asked[device::DEVICES]):
                return  # the next version may be current already
            with EdgeClient.open(current, PATIENT, cloud=self._at, trace=trace) as client:
                for record, audited in asked[device::DEVICES][done:]:
                    client.ask(record.prompt, shadow=audited)

        side_by_side(ask)

    def _learn(self) -> int:
        """Make and publish the next version; returns how many examples it has learned from."""
        wanted, out = self._folder / "improve.toml", self._folder / "versions"
        wanted.write_text(
            f"""kind = "generation"
seed = {self._seed}
model = {json.dumps(str(CHECKPOINTS / SMALL))}
store = "store"
[expert]
address = {json.dumps(self._at)}
[replay]
path = "old.jsonl"
share = {REPLAY}
[optim]
steps = {self._settings.steps}
{OPTIM}"""
        )
        subprocess.run(
            [*ESCALADE, "learn", wanted, self._traces, out], check=True, stdout=sys.stderr
        )
        figures = out / str(self._store.current)[:12] / "figures.json"
        return int(json.loads(figures.read_bytes())["examples"])

    def _control(self) -> Path:
        """A model of the same steps over old records alone, as many as the last version's."""
        folder = self._folder / "control"
        last = self._folder / "versions" / str(self._store.current)[:12] / "data"
        records = (self._folder / "old.jsonl").read_text().splitlines(keepends=True)
        count = len((last / "train.jsonl").read_text().splitlines())
        (folder / "data").mkdir(parents=True, exist_ok=True)
        (folder / "data" / "train.jsonl").write_text("".join(records[:count]))
        (folder / "data" / "valid.jsonl").write_bytes((last / "valid.jsonl").read_bytes())
        recipe = folder / "control.toml"
        recipe.write_text(
            f"""name = "control"
seed = {self._seed}
loss = "xent"
[model]
path = {json.dumps(str(CHECKPOINTS / SMALL))}
[data]
source = "data"
[optim]
steps = {self._settings.rounds * self._settings.steps}
{OPTIM}"""
        )
        checkpoint, artifact = folder / "checkpoint", folder / "artifact"
        subprocess.run([*ESCALADE, "train", recipe, checkpoint], check=True, stdout=sys.stderr)
        export_artifact(checkpoint, artifact, quantize="int8", golden_prompts=["g2p: a"])
        opened = Artifact.open(artifact)
        answers = answers_to(opened, last / "valid.jsonl", judged=True)
        calibrate(opened, answers, QualityGoal(target=self._settings.quality))
        return artifact

    def _measured(
        self, name: str, folder: Path, examples: int, held_out: Sequence[Record], began_s: float
    ) -> Row:
        seconds = time.monotonic() - began_s
        expert = self._expert_on(self._folder.parent / "held-out.json", held_out)
        artifact = Artifact.open(folder)
        threshold = artifact.manifest.deferral.threshold
        if threshold is None:
            raise ValueError(f"{folder}: is not calibrated")
        steps = [artifact.generate(artifact.encode(one.prompt)) for one in held_out]
        texts = [artifact.text_of(one) for one in steps]
        scores = np.array([artifact.rule([step.logprob for step in one]) for one in steps])
        deferred = np.array([defers(float(score), threshold) for score in scores])
        agrees = np.array([text == said for text, said in zip(texts, expert, strict=True)])
        right, large = (
            np.array([text in one.references for text, one in zip(said, held_out, strict=True)])
            for said in (texts, expert)
        )
        everything, goal = np.ones_like(agrees), self._settings.quality
        return Row(
            version=name,
            examples=examples,
            deferred=float(deferred.mean()),
            agreement=float((agrees | deferred).mean()),
            right=float(np.where(deferred, large, right).mean()),
            small_right=float(right.mean()),
            deferred_at_goal=least_deferred(scores, agrees, everything, goal),
            deferred_within_a_point=least_deferred(
                scores, right, large, float(large.mean()) - 0.01
            ),
            seconds=seconds,
        )


def side_by_side(ask: Callable[[int], None]) -> None:
    """Let every device ask, and wait for all."""
    with ThreadPoolExecutor(DEVICES) as pool:
        for asked in [pool.submit(ask, device) for device in range(DEVICES)]:
            asked.result()


def answered(record: Record, said: str) -> Record:
    """A record with what the expert said in place of its references."""
    return Record(id=record.id, task=record.task, prompt=record.prompt, references=[said])


def least_deferred(
    scores: NDArray[np.float64], small: Bools, large: Bools, quality: float
) -> float:
    """The least share of queries to defer, the least sure ones, at which so many are right."""
    order = np.argsort(scores, kind="stable")
    kept = np.append(0, np.cumsum(small[order]))
    sent = np.append(np.cumsum(large[order][::-1])[::-1], 0)
    most_kept = int(np.flatnonzero((kept + sent) / len(scores) >= quality)[-1])
    return 1.0 - most_kept / len(scores)


def rows_of(folder: Path) -> list[Row]:
    """The versions that were measured."""
    path = folder / "rows.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [Row(**json.loads(line)) for line in lines]


def show(seeds: Sequence[Sequence[Row]], settings: Settings) -> None:
    """A table of means over seeds, with the least and the greatest; of whole streams alone."""
    longest = max(map(len, seeds), default=0)
    seeds = [rows for rows in seeds if len(rows) == longest]
    print(f"| round | examples | defers at {settings.quality:.0%} | as shipped | agrees | s |")
    print("|---|---|---|---|---|---|")
    for rows in zip(*seeds, strict=True):
        cells = [
            rows[0].version,
            f"{statistics.mean(row.examples for row in rows):.0f}",
            *(
                spread([getattr(row, name) for row in rows])
                for name in ("deferred_at_goal", "deferred", "agreement")
            ),
            f"{statistics.mean(row.seconds for row in rows):.0f}",
        ]
        print(f"| {' | '.join(cells)} |")
    print("\n| round | small alone right | cascade right | defers within a point |")
    print("|---|---|---|---|")
    for rows in zip(*seeds, strict=True):
        shares = ("small_right", "right", "deferred_within_a_point")
        cells = [spread([getattr(row, name) for row in rows]) for name in shares]
        print(f"| {rows[0].version} | {' | '.join(cells)} |")
    print(f"\nseeds: {len(seeds)}; means, with the least and the greatest where they differ")


def spread(values: Sequence[float]) -> str:
    """A mean in percent, and how far seeds lie apart."""
    mean, low, high = (
        f"{100 * one:.1f}" for one in (statistics.mean(values), min(values), max(values))
    )
    return mean if low == high else f"{mean} ({low}-{high})"


if __name__ == "__main__":
    main()
