"""What the study compares, and its settings; knows no result.

Every method is measured on the second half of a stream, in an order that the seed draws. Those that
are taught beforehand learn from as many of the first half as they may ask the expert about.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import msgspec
from benchmarks.study_online.streams import EXPERTS, STREAMS, Shift, Stream, items_of, labels_of

from escalade.training.online import Configuration

Method = Literal["cascade", "ensemble", "distilled", "threshold", "expert"]
METHODS: tuple[Method, ...] = get_args(Method)


class Encoder(NamedTuple):
    """A level above the linear one."""

    name: str
    #: Upper ones, beside the head; None: all, and the embeddings. What does not learn is computed
    #: once for each text.
    learning_layers: int | None
    #: Of a run, beside the linear level's; and of its cache and batches: tables 3 and 4.
    cost: float = 1.0
    cache: int = 16
    batch_size: int = 8


class Levels(NamedTuple):
    """What stands between a stream and the expert: a linear level, and these."""

    #: For the page.
    words: str
    encoders: tuple[Encoder, ...] = ()
    #: Other levels, whose searches say where this one's begins.
    like: str = ""

    @property
    def names(self) -> list[str]:
        """Of the levels below the expert."""
        return ["linear", *(encoder.name for encoder in self.encoders)]


LEVELS = {
    "linear": Levels("a linear model over hashed n-grams, and the expert"),
    "frozen": Levels(
        "the linear one, MiniLM of which the head alone learns, and the expert",
        (Encoder("encoder", 0),),
    ),
    "upper": Levels(
        "the linear one, MiniLM of which the two upper layers learn, and the expert",
        (Encoder("encoder", 2),),
    ),
    "tuned": Levels(
        "the linear one, MiniLM fine-tuned, and the expert", (Encoder("encoder", None),)
    ),
    # The paper's large cascade (section 5.3): BERT-base and BERT-large. All of MiniLM fine-tuned is
    # more than an hour for a run on two cores.
    "four": Levels(
        "the linear one, MiniLM of which the head alone learns, MiniLM of which the two upper"
        " layers learn, and the expert",
        (Encoder("frozen", 0), Encoder("upper", 2, cost=3.0, cache=32, batch_size=16)),
        like="frozen",
    ),
}


@dataclass(frozen=True)
class Settings:
    """Everything a study depends on."""

    data: Path
    out: Path
    encoder: Path | None = None
    device: str = "cpu"
    #: For the page: runs that another machine made.
    elsewhere: str = ""
    streams: tuple[str, ...] = tuple(STREAMS)
    experts: tuple[str, ...] = tuple(EXPERTS)
    methods: tuple[Method, ...] = METHODS
    #: So many of a stream's budgets, the smallest first, and nothing but them; None: all.
    budgets: int | None = None
    seeds: tuple[int, ...] = (1, 2, 3)
    levels: tuple[str, ...] = ("linear", "frozen")
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

    def file(self, stream: str) -> Path:
        """A stream's."""
        return self.data / f"{stream}.parquet"


class Case(NamedTuple):
    """One run: everything that decides what comes of it."""

    stream: str
    expert: str
    seed: int
    #: A name among `LEVELS`.
    levels: str
    method: Method
    #: mu of a cascade; the expert's probability in an ensemble; the least confidence; else 0.
    knob: float = 0.0
    #: Labels of the first half, which are calls too.
    taught: int = 0
    #: Of a distilled one: which level.
    level: str = ""
    audited: bool = False
    shift: Shift = ""

    @property
    def key(self) -> str:
        """Its file's name."""
        parts = [self.stream, self.expert, self.levels, self.method, self.level]
        parts += [f"{self.knob:.6g}", str(self.taught), str(self.seed)]
        parts += ["audited"] * self.audited + [self.shift]
        return "-".join(filter(None, parts))


def configuration(settings: Settings, case: Case) -> Configuration:
    """What `escalade learn` would be told."""
    stream, file = STREAMS[case.stream], settings.file(case.stream)
    half = items_of(file) // 2
    order = {} if case.shift else {"shuffle": case.seed, "skip": half - case.taught}
    plain = {
        "labels": labels_of(file),
        "seed": case.seed,
        "stream": {"label": "gold", **order},
        "expert": {"kind": "column", "column": case.expert, "cost": EXPERTS[case.expert][1]},
        "level": _levels(settings, LEVELS[case.levels], stream),
        "method": _method(settings, case),
        "run": {"checkpoint_s": 60.0},
    }
    return msgspec.convert(plain, Configuration)


def _levels(settings: Settings, levels: Levels, stream: Stream) -> list[dict[str, object]]:
    linear, *others = (one._asdict() for one in stream.tunings(len(levels.names)))
    features = {"characters": stream.characters, "alpha": stream.alpha}
    return [
        {"kind": "linear", "name": "linear", **features, **linear},
        *(
            _encoder(settings, encoder) | tuning
            for encoder, tuning in zip(levels.encoders, others, strict=True)
        ),
    ]


def _encoder(settings: Settings, encoder: Encoder) -> dict[str, object]:
    return {
        "kind": "encoder",
        "name": encoder.name,
        "path": str(settings.encoder),
        "device": settings.device,
        "cost": encoder.cost,
        "cache": encoder.cache,
        "batch_size": encoder.batch_size,
        "max_tokens": settings.max_tokens,
        "learning_rate": settings.learning_rate,
        "frozen_layers": _frozen_layers(settings, encoder),
    }


def _frozen_layers(settings: Settings, encoder: Encoder) -> int:
    if encoder.learning_layers is None or settings.encoder is None:
        return 0
    described = msgspec.json.decode((settings.encoder / "config.json").read_bytes())
    return max(int(described["num_hidden_layers"]) - encoder.learning_layers, 0)


def _method(settings: Settings, case: Case) -> dict[str, object]:
    count = len(LEVELS[case.levels].names)
    if case.method == "cascade":
        share = settings.shift_audit if case.shift else settings.audit
        return {"kind": "cascade", "mu": case.knob, "audit": share if case.audited else 0.0}
    if case.method == "ensemble":
        share = (1.0 - case.knob) / count
        return {"kind": "ensemble", "probabilities": [share] * count + [1.0 - share * count]}
    if case.method == "distilled":
        return {"kind": "distilled", "level": case.level, "train": case.taught}
    if case.method == "threshold":
        return {"kind": "threshold", "train": case.taught, "confidence": [case.knob] * count}
    return {"kind": "expert"}
