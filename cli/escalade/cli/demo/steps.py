"""The demo's steps, in order; each calls the part that the verb of the same name calls."""

from __future__ import annotations

import itertools
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from escalade.cli.demo.delays import Delays
from escalade.cli.demo.live import NEAR, Live, LiveRow
from escalade.cli.demo.processes import running
from escalade.cli.output import Tick, progress_bar
from escalade.edge import Artifact, EdgeClient
from escalade.edge.base import Record, read_records, subsample, write_records
from escalade.edge.calibration import answers_to, calibrate
from escalade.edge.deferral import RateGoal
from escalade.edge.shadow import record_trace
from escalade.edge.trace import read_trace
from escalade.simulator.evaluation import Evaluation, evaluate
from escalade.simulator.replay import Summary, simulate
from escalade.simulator.report import write_simulation_page
from escalade.simulator.timing import ClockReport

#: The four delays of Revisiting Cascaded Ensembles, section 4.2, each with the share of the
#: queries asked over it, the seconds a query may take, and whether its waits dwarf what a query
#: costs this machine, so that the systems do not slow each other down.
_NETWORKS = (
    ("coe-1us", 1.0, 10.0, False),
    ("coe-10ms", 1.0, 10.0, False),
    ("coe-100ms", 0.5, 10.0, True),
    ("coe-1s", 0.1, 30.0, True),
)
_CALIBRATION_QUERIES = 1500
_GOLDEN_PROMPTS = 8
_FEWEST = 20


@dataclass
class Demo:
    """What the steps share."""

    small: Path
    baseline: Path
    large: Path
    out: Path
    seed: int
    notes: Console
    test: list[Record] = field(default_factory=list)
    _golden: list[str] = field(default_factory=list)
    _delays: Delays = field(default_factory=Delays)

    def prepare(self, target: float) -> None:
        """Write the tasks, export both small models in 8 bits and calibrate them."""
        from escalade.export.artifact import export_artifact
        from escalade.training.data import load_pronunciations, make_records

        self._say("writing the validation and test split of the bundled tasks")
        pronunciations = load_pronunciations()
        for split in ("valid", "test"):
            write_records(self._data(split), make_records(split, pronunciations))
        valid = read_records(self._data("valid"))
        self.test = read_records(self._data("test"))
        self._golden = [record.prompt for record in subsample(valid, _GOLDEN_PROMPTS)]
        for model in (self.small, self.baseline):
            self._say(f"exporting {model.name} to ONNX, int8")
            with progress_bar(f"exporting {model.name}"):
                manifest = export_artifact(
                    model, self._artifact(model), quantize="int8", golden_prompts=self._golden
                )
            parity = manifest.parity
            self._say(
                f"  parity with torch: {parity.same_tokens} of {parity.prompts} golden prompts with"
                f" the same tokens, mean |delta NLL| {parity.mean_abs_delta_nll:.2g}"
            )
            artifact = Artifact.open(self._artifact(model))
            with progress_bar(f"calibrating {model.name} on the validation split") as tick:
                answers = answers_to(
                    artifact, self._data("valid"), limit=_CALIBRATION_QUERIES, progress=tick
                )
            deferral = calibrate(artifact, answers, RateGoal(target=target)).deferral
            self._say(f"  calibrated: threshold {deferral.threshold:.4f}")

    def executorch(self) -> str:
        """Export the small model to a .pte and let both runtimes answer one query."""
        from escalade.export.artifact import export_artifact

        folder = self.out / "artifact-executorch"
        self._say(f"exporting {self.small.name} to ExecuTorch")
        try:
            with progress_bar(f"exporting {self.small.name}"):
                export_artifact(
                    self.small, folder, format="executorch", golden_prompts=self._golden[:2]
                )
        except ModuleNotFoundError as error:
            return f"ExecuTorch: left out, {error.name} is not installed (extra 'executorch')"
        prompt = self._golden[0]
        answers, tokens = [], []
        for path in (folder, self._artifact(self.small)):
            artifact = Artifact.open(path)
            steps = artifact.generate(artifact.encode(prompt))
            tokens.append([step.token_id for step in steps])
            answers.append(artifact.text_of(steps))
        if tokens[0] == tokens[1]:
            return (
                f"ExecuTorch and ONNX Runtime answer {prompt!r} with the same tokens: {answers[0]}"
            )
        # The .pte is float32 and gives torch's tokens, or its export would have failed.
        return f"{prompt!r}: ExecuTorch answers {answers[0]}, ONNX Runtime in int8 {answers[1]}"

    def live_and_traced(
        self, queries: int, traced: int
    ) -> tuple[list[LiveRow], ClockReport, Summary, Evaluation]:
        """Time delays, serve the large model, measure live over every network, replay traces."""
        self._say("timing what the proxy makes of delays on this machine")
        fast = [name for name, *_, slow in _NETWORKS if not slow]
        with progress_bar("timing delays") as tick:
            self._delays.time(NEAR, *fast, progress=tick)
        self._say(f"starting the cloud: escalade serve {self.large.name}")
        # Each client asks one query at a time, and a demo gives the same answers every time.
        serve = ("serve", str(self.large), "--listen", "127.0.0.1:0", "--deterministic")
        with running("the cloud server", *serve) as at:
            rows = [
                row
                for profile, share, deadline_s, slow in _NETWORKS
                for row in self._measure(
                    at, profile, max(_FEWEST, int(queries * share)), deadline_s, side_by_side=slow
                )
            ]
            traces = [self._record(at, model, traced) for model in (self.baseline, self.small)]
        self._say("replaying the traces in virtual time")
        profiles = [network[0] for network in _NETWORKS]
        simulation = simulate(traces, profiles, [], seed=self.seed)
        write_simulation_page(self.out / "report.html", simulation)
        evaluation = evaluate({path.stem: [read_trace(path)] for path in traces}, seed=self.seed)
        return rows, self._delays.report(), simulation.summary, evaluation

    def _measure(
        self, server: str, profile: str, count: int, deadline_s: float, *, side_by_side: bool
    ) -> list[LiveRow]:
        records = _each_task(self.test, count)
        self._say(f"asking {len(records)} queries over {profile}, of 1, 2 and 3 tiers")
        beside = self._delays.beside(profile) if side_by_side else nullcontext()
        with progress_bar(profile) as tick, beside:
            live = Live(
                device=self._artifact(self.small),
                gateway=self._artifact(self.baseline),
                server=server,
                out=self.out,
                tick=_Counter(tick, Live.steps(len(records))).tick,
            )
            return live.measure(profile, records, deadline_s, side_by_side=side_by_side)

    def _record(self, server: str, model: Path, count: int) -> Path:
        trace = self.out / f"{model.name.removeprefix('small-')}.jsonl"
        records = _each_task(self.test, count)
        self._say(f"recording {len(records)} queries of {model.name}")
        with (
            EdgeClient.open(self._artifact(model), cloud=server) as client,
            progress_bar(model.name) as tick,
        ):
            record_trace(client, records, trace, progress=tick)
        return trace

    def _artifact(self, model: Path) -> Path:
        return self.out / f"artifact-{model.name}"

    def _data(self, split: str) -> Path:
        return self.out / "data" / f"{split}.jsonl"

    def _say(self, line: str) -> None:
        self.notes.print(line, style="dim")


def _each_task(records: list[Record], count: int) -> list[Record]:
    """About `count` records, as many of each task: small samples that differ in words alone."""
    tasks = list(dict.fromkeys(record.task for record in records))
    each = count // len(tasks)
    return [
        record
        for task in tasks
        for record in subsample([record for record in records if record.task == task], each)
    ]


class _Counter:
    """Turns calls that count nothing, of any thread, into (done, total)."""

    def __init__(self, tick: Tick, total: int) -> None:
        self._tick, self._total, self._done = tick, total, itertools.count(1)
        tick(0, total)

    def tick(self) -> None:
        """One more is done."""
        self._tick(next(self._done), self._total)
