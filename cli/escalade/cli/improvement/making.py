"""What each stage of a version does; knows no order of stages, no store."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec
import numpy as np

from escalade.cli.errors import CliError
from escalade.edge.artifact import load_manifest, sign
from escalade.edge.base import atomic_write, counted, pretty_json, read_records, write_records
from escalade.edge.calibration import EarlyGoal, ScoredQueries, answers_to, calibrate, halves_of
from escalade.edge.deferral import Goal, QualityGoal, defers
from escalade.edge.errors import DataError
from escalade.edge.generation import Artifact
from escalade.edge.trace import read_traces

if TYPE_CHECKING:
    from escalade.cli.improvement.expert import Expert
    from escalade.training.improvement import Improvement
    from escalade.training.recipes import Progress

HEARD, ASKED, FIGURES = "heard.json", "asked.json", "figures.json"
TRAIN, CALIBRATE, VALID = "data/train.jsonl", "data/calibrate.jsonl", "data/valid.jsonl"
CHECKPOINT, ARTIFACT = "checkpoint", "artifact"
#: What the expert says of the examples' tokens.
_PREDICTIONS = "expert.safetensors"
_GOLDEN_PROMPTS = 8
# One sets the threshold, and one checks it.
_LEAST_CALIBRATING = 2

S = TypeVar("S", bound=msgspec.Struct)


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """What one version does on the queries that check its threshold."""

    deferral_rate: float
    #: Share of all answers that are the expert's, deferred ones included; and of the model's own.
    agreement: float
    own_agreement: float


class _Heard(msgspec.Struct, frozen=True, kw_only=True):
    counts: dict[str, int]
    examples: int
    replayed: int


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    asked: int
    unanswered: int


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What a version was made of, and what that came to."""

    #: Examples that are the expert's answers, and old ones.
    examples: int
    replayed: int
    #: Queries that set the threshold and check it; how many the expert was asked now, and to how
    #: many it gave no answer that ends, which are left out.
    calibrated: int
    asked: int
    unanswered: int
    goal: Goal
    threshold: float
    #: On queries that this version's threshold was not set on; of the version before and of it.
    checked: int
    before: Side
    now: Side


class Making:
    """A version in the making."""

    def __init__(self, wanted: Improvement, folder: Path, before: Path) -> None:
        """Take the settings.

        Args:
            wanted: with absolute paths.
            folder: to write to.
            before: the artifact of the version before.
        """
        self._wanted, self._folder, self._before = wanted, folder, before
        self._was = load_manifest(before)

    def examples(self, traces: Path, expert: Expert) -> None:
        """Divide what the expert has said into what trains and what calibrates.

        Raises:
            DataError: there is nothing of either.
        """
        from escalade.training.improvement import divide, hear, replayed

        heard, counts = hear(read_traces(traces), expert.header(), expert.tokens_of)
        calibration, replay = self._wanted.calibration, self._wanted.replay
        divided = divide(heard, calibration.share, calibration.queries)
        if not divided.train or len(divided.calibrate) < _LEAST_CALIBRATING:
            raise DataError(
                f"{traces}: of {counts.queries} queries {len(divided.train)} are answers of the"
                f" expert to learn from and {len(divided.calibrate)} are to calibrate; at least 1"
                f" and {_LEAST_CALIBRATING} are needed"
            )
        old = []
        if replay is not None:
            seed = self._wanted.seed
            records = read_records(Path(replay.path))
            old = replayed(records, divided.train, calibration.share, replay.share, seed)
        # What was begun on other examples.
        (self._folder / _PREDICTIONS).unlink(missing_ok=True)
        shutil.rmtree(self._folder / f"{CHECKPOINT}.run", ignore_errors=True)
        write_records(self._created(TRAIN), [*divided.train, *old])
        write_records(self._created(CALIBRATE), divided.calibrate)
        counted: dict[str, int] = msgspec.to_builtins(counts)
        self._write(HEARD, _Heard(counts=counted, examples=len(divided.train), replayed=len(old)))

    def answers(self, expert: Expert, tick: Callable[[int, int], None]) -> None:
        """Ask the expert the calibrating queries that it was not asked.

        A fair sample of all queries needs them: those that it was asked are the hard ones.
        """
        from escalade.training.improvement import finished

        records, answered, asked = read_records(self._folder / CALIBRATE), [], 0
        for done, record in enumerate(records, start=1):
            if record.references:
                answered.append(record)
            else:
                asked += 1
                said = expert.ask(record.prompt)
                if said is not None and finished(said, expert.tokens_of):
                    answered.append(msgspec.structs.replace(record, references=[said.text]))
            tick(done, len(records))
        write_records(self._folder / VALID, answered)
        unanswered = len(records) - len(answered)
        self._write(ASKED, _Asked(asked=asked, unanswered=unanswered))

    def train(self, model: Path, progress: Progress | None, say: Callable[[str], None]) -> None:
        """Fine-tune a torch model on the examples; a run that was cut off goes on."""
        from escalade.training.improvement import recipe_of
        from escalade.training.recipes import run_recipe

        folder = self._folder.resolve()  # a recipe's paths are relative to its own folder
        recipe = folder / "recipe.toml"
        with atomic_write(recipe) as stream:
            text = recipe_of(
                self._wanted,
                self._was.model.name,
                model,
                (folder / TRAIN).parent,
                folder / _PREDICTIONS,
            )
            stream.write(text.encode())
        run_recipe(recipe, folder / CHECKPOINT, progress=progress, say=say)

    def export(self, say: Callable[[str], None]) -> None:
        """Export what was trained as the version before was exported; says what it could not."""
        from escalade.export.artifact import export_artifact, layout_of
        from escalade.export.text import by_trained, text_again

        was, records = self._was, read_records(self._folder / VALID)
        stored = was.quantization
        head_bits, activation_bits = self._bits()
        text, lacking = text_again(stored.detail)
        if lacking is not None:
            say(f"{lacking}; the next one is rounded as without --gptq")
        made = export_artifact(
            self._folder / CHECKPOINT,
            self._folder / ARTIFACT,
            name=was.model.name,
            format=was.format,
            quantize=stored.scheme,
            block_size=stored.block_size if was.format == "onnx" else None,
            head_bits=head_bits,
            bits=stored.budget.bits if stored.budget else None,
            memory_bits=(stored.budget.memory_bits or None) if stored.budget else None,
            activation_bits=activation_bits,
            rounded_by=text,
            layout=layout_of(was.files),
            golden_prompts=[record.prompt for record in records[:_GOLDEN_PROMPTS]],
            max_new_tokens=was.model.max_new_tokens,
        )
        if by_trained(stored.detail) and not by_trained(made.quantization.detail):
            say(
                f"{self._folder / CHECKPOINT}: keeps no prompts that it was trained on, or too few,"
                " to be rounded by as the version before was; it is rounded as where none are kept"
            )

    def _bits(self) -> tuple[int | None, int | None]:
        """`--head-bits` and `--activation-bits` of the version before, where it was given them."""
        was, stored = self._was, self._was.quantization
        program = self._before / was.program
        if was.format == "executorch" and stored.scheme == "8da4w":
            from escalade.export.executorch import embedding_bits_of

            return embedding_bits_of(program), None
        if was.format == "onnx" and stored.scheme in {"int4", "int8"}:
            from escalade.export.onnx import stored_by

            by = stored_by(program)
            # Of a table in int8, or one whose bits a budget chose, nobody gave them.
            given = stored.scheme == "int4" and not stored.budget
            return by.head_bits if given else None, by.activation_bits
        return None, None

    def calibrate(self, tick: Callable[[int, int], None]) -> None:
        """Set the threshold for the goal, which is that of the version before, and sign.

        Raises:
            CliError: the goal's guarantee cannot be given on so few queries.
        """
        entry, seed, quality = (
            self._was.deferral,
            self._wanted.seed,
            self._wanted.calibration.quality,
        )
        assert entry.calibration is not None  # noqa: S101 - who begins a version looks
        goal = entry.calibration.goal if quality is None else QualityGoal(target=quality)
        early = entry.early
        artifact = Artifact.open(self._folder / ARTIFACT)
        answers = answers_to(artifact, self._folder / VALID, judged=True, progress=tick)
        deferral = calibrate(
            artifact,
            answers,
            goal,
            rule=entry.rule,
            early=None if early is None else EarlyGoal(early.miss_rate, early.delta),
            seed=seed,
        ).deferral
        assert deferral.threshold is not None and deferral.calibration is not None  # noqa: S101,PT018
        if deferral.calibration.certified is False:
            raise CliError(
                f"{counted(len(answers.prompts), 'query')} cannot certify the goal of the version"
                " before; gather more, or raise calibration.share or calibration.queries"
            )
        checked = halves_of(len(answers.prompts), seed=seed).held_out
        before = Artifact.open(self._before)
        said_before = answers_to(before, self._folder / VALID, judged=True, progress=tick)
        heard, asked = self._read(HEARD, _Heard), self._read(ASKED, _Asked)
        self._write(
            FIGURES,
            Figures(
                examples=heard.examples,
                replayed=heard.replayed,
                calibrated=len(answers.prompts),
                asked=asked.asked,
                unanswered=asked.unanswered,
                goal=goal,
                threshold=deferral.threshold,
                checked=len(checked),
                before=_side(before, said_before.subset(checked), entry.threshold),
                now=_side(artifact, answers.subset(checked), deferral.threshold),
            ),
        )
        if self._wanted.key is not None:
            sign(self._folder / ARTIFACT, Path(self._wanted.key))

    def heard(self) -> dict[str, int]:
        """How many queries of the traces were what."""
        return self._read(HEARD, _Heard).counts

    def figures(self) -> Figures:
        """What came of it."""
        return self._read(FIGURES, Figures)

    def _created(self, name: str) -> Path:
        path = self._folder / name
        path.parent.mkdir(exist_ok=True)
        return path

    def _write(self, name: str, value: msgspec.Struct) -> None:
        with atomic_write(self._folder / name) as stream:
            stream.write(pretty_json(value))

    def _read(self, name: str, kind: type[S]) -> S:
        return msgspec.json.decode((self._folder / name).read_bytes(), type=kind)


def _side(artifact: Artifact, answers: ScoredQueries, threshold: float | None) -> Side:
    """What an artifact does on some queries under a threshold."""
    assert threshold is not None and answers.judged is not None  # noqa: S101,PT018 - as calibrated
    own = answers.judged.small
    deferred = np.array([defers(artifact.rule(one), threshold) for one in answers.logprobs])
    return Side(
        deferral_rate=float(deferred.mean()),
        agreement=float((deferred | own).mean()),
        own_agreement=float(own.mean()),
    )
