"""What the study compares, and its settings; knows no result.

Every method is measured on the second half of a stream, in an order that the seed draws. Those that
are taught beforehand learn from as many of the first half as they may ask the expert about.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
from pyarrow import parquet

from escalade.training.online import Configuration

Levels = Literal["linear", "upper", "tuned"]
Method = Literal["cascade", "ensemble", "distilled", "threshold", "expert"]


class Tuning(NamedTuple):
    """A level's row of tables 3 and 4 of the paper; experts have the same."""

    decay: float
    calibration: float
    calibrator_rate: float


class Stream(NamedTuple):
    """A file of the data folder, and what the paper says of it."""

    name: str
    title: str
    #: Calls of the expert at which table 1 compares.
    budgets: tuple[int, ...]
    linear: Tuning
    encoder: Tuning
    #: A class whose recall counts too.
    recall: str | None = None


STREAMS = {
    one.name: one
    for one in (
        Stream(
            "hatespeech", "HateSpeech", (600, 2700, 4900),
            # The paper's decay of the linear level is 0.97, by which 800 calls go to exploring.
            Tuning(0.9, 0.4, 1e-3), Tuning(0.9, 0.4, 7e-4), recall="hate",
        ),
        Stream(
            "isear", "ISEAR", (1200, 1500, 2700),
            Tuning(0.8, 0.15, 7e-4), Tuning(0.9, 0.45, 7e-4),
        ),
        Stream(
            "imdb", "IMDB", (1300, 3800, 5200),
            Tuning(0.97, 0.4, 7e-4), Tuning(0.95, 0.3, 7e-4),
        ),
    )
}  # fmt: skip
#: Columns of the files, with their names, and what a call costs beside BERT-base (tables 3 and 4).
EXPERTS = {"gpt35_turbo": ("GPT-3.5 Turbo", 1182.0), "llama2_70b_chat": ("Llama 2 70B", 636.0)}


@dataclass(frozen=True)
class Settings:
    """Everything a study depends on."""

    data: Path
    out: Path
    encoder: Path | None = None
    streams: tuple[str, ...] = ("hatespeech", "isear")
    experts: tuple[str, ...] = tuple(EXPERTS)
    seeds: tuple[int, ...] = (1, 2, 3)
    levels: tuple[Levels, ...] = ("linear", "upper")
    #: Of what an encoder reads.
    max_tokens: int = 128
    #: Runs with which a setting is sought that comes to a budget, and how near is enough.
    most_tries: int = 7
    nearness: float = 0.03
    #: Of the kept items, in the runs that are audited; and in those that shift, which are short.
    audit: float = 0.05
    shift_audit: float = 0.2
    #: Of the encoder that is fine-tuned; not the paper's 1e-5, which MiniLM hardly moves by.
    learning_rate: float = 5e-5


class Case(NamedTuple):
    """One run: everything that decides what comes of it."""

    stream: str
    expert: str
    seed: int
    levels: Levels
    method: Method
    #: mu of a cascade; the expert's probability in an ensemble; the least confidence; else 0.
    knob: float = 0.0
    #: Labels of the first half, which are calls too.
    taught: int = 0
    #: Of a distilled one: which level.
    level: str = ""
    audited: bool = False
    #: Halfway through, every class becomes the next one.
    shifted: bool = False

    @property
    def key(self) -> str:
        """Its file's name."""
        parts = [self.stream, self.expert, self.levels, self.method, self.level]
        parts += [f"{self.knob:.6g}", str(self.taught), str(self.seed)]
        parts += ["audited"] * self.audited + ["shifted"] * self.shifted
        return "-".join(filter(None, parts))


def labels_of(settings: Settings, stream: str) -> list[str]:
    """The classes of a stream, as its file says."""
    metadata = parquet.read_schema(settings.data / f"{stream}.parquet").metadata or {}
    return metadata[b"labels"].decode().split(",")


def items_of(settings: Settings, stream: str) -> int:
    """How many items a stream has."""
    return parquet.read_metadata(settings.data / f"{stream}.parquet").num_rows


def configuration(settings: Settings, case: Case) -> Configuration:
    """What `escalade learn` would be told."""
    stream = STREAMS[case.stream]
    half = items_of(settings, case.stream) // 2
    order = {} if case.shifted else {"shuffle": case.seed, "skip": half - case.taught}
    plain = {
        "labels": labels_of(settings, case.stream),
        "seed": case.seed,
        "stream": {"label": "gold", **order},
        "expert": {"kind": "column", "column": case.expert, "cost": EXPERTS[case.expert][1]},
        "level": _levels(settings, case.levels, stream),
        "method": _method(settings, case),
        "run": {"checkpoint_s": 60.0},
    }
    return msgspec.convert(plain, Configuration)


def _levels(settings: Settings, levels: Levels, stream: Stream) -> list[dict[str, object]]:
    linear: dict[str, object] = {"kind": "linear", "name": "linear", **stream.linear._asdict()}
    if levels == "linear":
        return [linear]
    encoder: dict[str, object] = {
        "kind": "encoder",
        "name": "encoder",
        "path": str(settings.encoder),
        "max_tokens": settings.max_tokens,
        "learning_rate": settings.learning_rate,
        # Two of MiniLM's six learn; the others are computed once for each text.
        "frozen_layers": 4 if levels == "upper" else 0,
        **stream.encoder._asdict(),
    }
    return [linear, encoder]


def _method(settings: Settings, case: Case) -> dict[str, object]:
    count = 1 if case.levels == "linear" else 2
    if case.method == "cascade":
        share = settings.shift_audit if case.shifted else settings.audit
        audit = share if case.audited else 0.0
        # Calibrators take one step a label, as the authors' do.
        return {"kind": "cascade", "mu": case.knob, "audit": audit, "replay": 0}
    if case.method == "ensemble":
        share = (1.0 - case.knob) / count
        return {"kind": "ensemble", "probabilities": [share] * count + [1.0 - share * count]}
    if case.method == "distilled":
        return {"kind": "distilled", "level": case.level, "train": case.taught}
    if case.method == "threshold":
        return {"kind": "threshold", "train": case.taught, "confidence": [case.knob] * count}
    return {"kind": "expert"}
