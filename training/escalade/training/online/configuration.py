"""Reads what `escalade learn` is told (TOML); opens nothing.

Unknown keys are refused, the nearest known one is named. Paths are relative to the file's folder.
Defaults that the paper (arXiv 2402.04513) gives are its tables 3 and 4 for two levels on IMDB.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from escalade.edge.base import Count, Positive, Seed, Share
from escalade.edge.classification import HashedNgrams
from escalade.training.errors import RecipeError
from escalade.training.online.experts import Parser
from escalade.training.online.streams import STDIN
from escalade.training.tables import Table, parse_tables, toml_text

_Weight = Annotated[float, msgspec.Meta(ge=0.0, le=1e12)]
_Rate = Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]
_Seconds = Annotated[float, msgspec.Meta(gt=0.0, le=1e9)]


class StreamTable(Table, frozen=True):
    """Where items are, which columns they have, and which of them are used."""

    #: Of the data, unless the command names it; see `read_stream`.
    path: str | None = None
    text: str = "text"
    #: An item whose id was there before is refused; without ids nothing is.
    id: str | None = None
    #: The right class, by its name or its number among `labels`; for measuring alone.
    label: str | None = None
    #: Characters of a text; longer ones are refused.
    longest_text: Positive = 100_000
    #: Seed of an order to draw; default: as the stream comes.
    shuffle: Seed | None = None
    #: Items left out at the beginning, once they are in order.
    skip: Count = 0
    #: Items used at most.
    limit: Positive | None = None
    #: Seconds for which a folder is watched for new files after the last one.
    follow_s: Annotated[float, msgspec.Meta(ge=0.0, le=1e9)] = 0.0


class _ExpertTable(Table, frozen=True, kw_only=True, tag_field="kind"):
    """The last level."""

    #: Of one call, beside the levels' costs. The paper: LR 1 : BERT-base 1 : GPT-3.5 1182.
    cost: _Weight = 1182.0
    #: Of one call, where that is known.
    flops: _Weight | None = None


class ColumnTable(_ExpertTable, frozen=True, kw_only=True, tag="column"):
    """An expert that has answered already."""

    column: str


class ServerTable(_ExpertTable, frozen=True, kw_only=True, tag="server"):
    """`escalade serve`, which may itself stand before an OpenAI-compatible server."""

    #: `HOST:PORT`.
    address: str
    #: With `{text}` once.
    prompt: str = "{text}"
    max_new_tokens: Positive = 16
    #: For one call, all attempts included.
    deadline_s: _Seconds = 60.0
    #: Root certificates (PEM) to trust there, over TLS; the system's own where there are none.
    ca_cert: str | None = None
    token_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    #: Speak TLS there, or not. If None, with `ca_cert`, and to every host that is not loopback.
    tls: bool | None = None


class _LevelTable(Table, frozen=True, kw_only=True, tag_field="kind"):
    """One level below the expert."""

    name: str
    #: Of one run, beside the other levels' and the expert's.
    cost: _Weight = 1.0
    #: Answers of the expert that make one update.
    cache: Positive
    #: Of beta, with each update.
    decay: Share
    #: Calibration factor of equation 7.
    calibration: Share
    #: Of the calibrator's Adam.
    calibrator_rate: _Rate = 7e-4


class LinearTable(_LevelTable, frozen=True, kw_only=True, tag="linear"):
    """scikit-learn's SGD over hashed n-grams; see `LinearSettings`."""

    cache: Positive = 8
    decay: Share = 0.97
    calibration: Share = 0.4
    buckets: Annotated[int, msgspec.Meta(ge=2, le=1 << 24)] = 1 << 18
    words: tuple[Positive, Positive] = (1, 2)
    #: Of n-grams within a word; with 3 to 5 a few thousand labels teach more, at several times the
    #: work a text.
    characters: tuple[Positive, Positive] | None = None
    #: With scikit-learn's own, 1e-4, some thousand labels teach ISEAR's seven classes less; with
    #: 1e-5, HateSpeech's two.
    alpha: _Rate = 2e-5
    replay: Count = 24
    memory: Count = 4096
    epochs: Positive = 1

    def features(self) -> HashedNgrams:
        """What the level reads of a text.

        Raises:
            ValueError: a length of n-grams is out of range, or falls.
        """
        return HashedNgrams(buckets=self.buckets, words=self.words, characters=self.characters)


class EncoderTable(_LevelTable, frozen=True, kw_only=True, tag="encoder"):
    """An encoder of transformers with a classification head; see `EncoderSettings`."""

    #: Its folder.
    path: str
    cache: Positive = 16
    decay: Share = 0.95
    calibration: Share = 0.3
    max_tokens: Annotated[int, msgspec.Meta(ge=8, le=8192)] = 128
    #: Embeddings and so many lower layers do not learn.
    frozen_layers: Count = 0
    #: BERT's own for fine-tuning is 2e-5 to 5e-5 (Devlin et al. 2019, A.3); the cascade paper's for
    #: BERT-base is 1e-5.
    learning_rate: _Rate = 5e-5
    head_rate: _Rate = 1e-3
    batch_size: Positive = 8
    epochs: Positive = 5
    replay: Count = 16
    memory: Count = 2048
    #: Where it runs and learns. A GPU rounds otherwise, by which alone a run that goes on there
    #: differs.
    device: Literal["cpu", "cuda"] = "cpu"


class CascadeTable(Table, frozen=True, tag="cascade", tag_field="kind"):
    """Algorithm 1."""

    #: What a unit of cost weighs against a nat of prediction loss.
    mu: _Weight = 0.0
    #: Earlier labels that calibrators learn from again with each; the authors' code: none.
    replay: Count = 8
    #: Share of the kept items that the expert is asked about all the same.
    audit: Share = 0.0


class EnsembleTable(Table, frozen=True, tag="ensemble", tag_field="kind"):
    """Every item goes to one of the levels or the expert, drawn with these probabilities."""

    #: Of each level, and last of the expert; together 1.
    probabilities: list[Share]


class ExpertAloneTable(Table, frozen=True, tag="expert", tag_field="kind"):
    """Every item goes to the expert."""


class DistilledTable(Table, frozen=True, tag="distilled", tag_field="kind"):
    """The first items go to the expert and teach one level, which answers the rest alone."""

    level: str
    train: Positive


class ThresholdTable(Table, frozen=True, tag="threshold", tag_field="kind"):
    """The first items teach all levels; then one answers if its largest probability is enough."""

    train: Positive
    #: Of each level.
    confidence: list[Share]


MethodTable = CascadeTable | EnsembleTable | ExpertAloneTable | DistilledTable | ThresholdTable


class RunTable(Table, frozen=True):
    """How to run: none of these changes what is learned or answered."""

    #: Seconds between two checkpoints.
    checkpoint_s: Annotated[float, msgspec.Meta(ge=0.0, le=1e9)] = 30.0
    #: Items between two lines of figures.
    report_items: Positive = 100


class Configuration(Table, frozen=True):
    """One run over one stream, whole."""

    #: Of all classes; one that comes late is known from the beginning.
    labels: Annotated[list[str], msgspec.Meta(min_length=2, max_length=10_000)]
    expert: ColumnTable | ServerTable
    #: In ascending cost.
    level: Annotated[list[LinearTable | EncoderTable], msgspec.Meta(min_length=1, max_length=16)]
    seed: Seed = 1
    stream: StreamTable = StreamTable()
    method: MethodTable = CascadeTable()
    run: RunTable = RunTable()


def read_configuration(path: Path) -> Configuration:
    """Read and check a configuration; paths in it become absolute.

    Raises:
        RecipeError: it cannot be read, a key is unknown, or a value is out of range.
    """
    configuration = parse_tables(toml_text(path), path, Configuration)
    check_configuration(configuration, path)
    return _resolved(configuration, path.parent if path.is_file() else Path())


def check_configuration(configuration: Configuration, path: Path) -> None:
    """Check what holds between values.

    Raises:
        RecipeError: something does not; `path` is what messages call the configuration.
    """
    try:
        Parser(configuration.labels)
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from error

    def need(holds: bool, message: str) -> None:
        if not holds:
            raise RecipeError(f"{path}: {message}")

    _check(configuration, need)


def _check(configuration: Configuration, need: Callable[[bool, str], None]) -> None:
    names = [level.name for level in configuration.level]
    for name in names:
        need(
            name.replace("-", "").replace("_", "").isalnum() and name.isascii(),
            f"level.name must be of letters, digits, - and _, got {name!r}",
        )
    need(
        len({*names, "expert"}) == len(names) + 1,
        f"level names must differ from each other and from 'expert', got {', '.join(names)}",
    )
    for level in configuration.level:
        if isinstance(level, LinearTable):
            try:
                level.features()
            except ValueError as error:
                need(False, f"level {level.name!r}: {error}")
    method, count = configuration.method, len(names)
    if isinstance(method, EnsembleTable):
        given = len(method.probabilities)
        need(given == count + 1, f"method.probabilities needs {count + 1} numbers, got {given}")
        total = sum(method.probabilities)
        need(math.isclose(total, 1.0), f"method.probabilities must sum to 1, got {total:g}")
    if isinstance(method, DistilledTable):
        need(method.level in names, f"method.level must be a level's name, got {method.level!r}")
    if isinstance(method, ThresholdTable):
        given = len(method.confidence)
        need(given == count, f"method.confidence needs {count} numbers, got {given}")


def resolved_levels(
    levels: Sequence[LinearTable | EncoderTable], folder: Path
) -> list[LinearTable | EncoderTable]:
    """Levels whose paths, which are relative to a folder, are absolute."""
    return [
        msgspec.structs.replace(one, path=str((folder / one.path).resolve()))
        if isinstance(one, EncoderTable)
        else one
        for one in levels
    ]


def _resolved(configuration: Configuration, folder: Path) -> Configuration:
    replace = msgspec.structs.replace

    def beside(value: str | None) -> str | None:
        return None if value is None else str((folder / value).resolve())

    levels = resolved_levels(configuration.level, folder)
    stream, expert = configuration.stream, configuration.expert
    if stream.path != STDIN:
        stream = replace(stream, path=beside(stream.path))
    if isinstance(expert, ServerTable):
        files = ("ca_cert", "token_file", "client_cert", "client_key")
        expert = replace(expert, **{name: beside(getattr(expert, name)) for name in files})
    return replace(configuration, stream=stream, level=levels, expert=expert)
