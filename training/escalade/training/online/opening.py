"""Makes of a configuration what it names: levels, expert, walk; knows no stream and no file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from escalade.checkpoint import CheckpointError, check_model
from escalade.edge.base import Clock
from escalade.edge.errors import CloudError
from escalade.edge.wire import ClientFiles, CloudClient
from escalade.training.audit import Audit
from escalade.training.errors import RecipeError
from escalade.training.online.configuration import (
    CascadeTable,
    ColumnTable,
    Configuration,
    DistilledTable,
    EncoderTable,
    EnsembleTable,
    ExpertAloneTable,
    LinearTable,
    ServerTable,
)
from escalade.training.online.experts import Expert, RecordedExpert, ServerExpert
from escalade.training.online.levels import (
    Calibrators,
    CalibratorSettings,
    Level,
    LinearLevel,
    LinearSettings,
)
from escalade.training.online.walking import (
    CascadeWalk,
    EnsembleWalk,
    ExpertWalk,
    FixedWalk,
    Rung,
    Walk,
)
from escalade.v1.channel import plaintext_of


def open_rungs(configuration: Configuration) -> list[Rung]:
    """The levels, untaught.

    Raises:
        RecipeError: an encoder cannot be opened.
    """
    for table in configuration.level:
        if isinstance(table, EncoderTable):
            try:
                check_model(table.path)  # before torch is loaded, which takes seconds
            except CheckpointError as error:
                raise RecipeError(f"encoder {error}") from error
    return [
        Rung(
            name=table.name,
            level=_open_level(configuration, place),
            cost=table.cost,
            cache_size=table.cache,
            decay=table.decay,
        )
        for place, table in enumerate(configuration.level)
    ]


def _open_level(configuration: Configuration, place: int) -> Level:
    table, labels = configuration.level[place], configuration.labels
    # Levels draw from seeds of their own.
    seed = configuration.seed * len(configuration.level) + place
    if isinstance(table, LinearTable):
        settings = LinearSettings(
            features=table.features(),
            alpha=table.alpha,
            replay=table.replay,
            memory=table.memory,
            epochs=table.epochs,
        )
        return LinearLevel(labels, settings, seed=seed)
    from escalade.training.online.encoders import EncoderLevel, EncoderSettings

    return EncoderLevel(
        labels,
        EncoderSettings(
            path=Path(table.path),
            max_tokens=table.max_tokens,
            frozen_layers=table.frozen_layers,
            learning_rate=table.learning_rate,
            head_rate=table.head_rate,
            batch_size=table.batch_size,
            epochs=table.epochs,
            replay=table.replay,
            memory=table.memory,
            device=table.device,
        ),
        seed=seed,
    )


def open_calibrators(configuration: Configuration) -> Calibrators | None:
    """Those of the levels; None where the method asks none."""
    method = configuration.method
    if not isinstance(method, CascadeTable):
        return None
    following = [*(table.cost for table in configuration.level[1:]), configuration.expert.cost]
    settings = [
        CalibratorSettings(table.calibration, table.calibrator_rate, next_cost)
        for table, next_cost in zip(configuration.level, following, strict=True)
    ]
    return Calibrators(
        len(configuration.labels),
        settings,
        mu=method.mu,
        replay=method.replay,
        seed=configuration.seed,
    )


def open_audit(configuration: Configuration) -> Audit | None:
    """Of the kept answers; None where none is asked for."""
    method = configuration.method
    if not isinstance(method, CascadeTable) or not method.audit:
        return None
    return Audit(method.audit, seed=configuration.seed)


def open_walk(
    configuration: Configuration, rungs: Sequence[Rung], calibrators: Calibrators | None
) -> Walk:
    """How the method takes items through the levels."""
    method, seed = configuration.method, configuration.seed
    if isinstance(method, CascadeTable):
        assert calibrators is not None  # noqa: S101 - `open_calibrators` says so
        return CascadeWalk(rungs, calibrators, seed)
    if isinstance(method, EnsembleTable):
        return EnsembleWalk(method.probabilities, seed)
    if isinstance(method, DistilledTable):
        place = [rung.name for rung in rungs].index(method.level)
        return FixedWalk(len(rungs), method.train, {place: 0.0})
    if isinstance(method, ExpertAloneTable):
        return ExpertWalk(len(rungs))
    return FixedWalk(len(rungs), method.train, dict(enumerate(method.confidence)))


def open_expert(table: ColumnTable | ServerTable, clock: Clock) -> Expert:
    """Whom to ask.

    Raises:
        RecipeError: what the table says of a server cannot be.
    """
    if isinstance(table, ColumnTable):
        return RecordedExpert()
    ca_cert, *shown = (
        None if name is None else Path(name)
        for name in (table.ca_cert, table.token_file, table.client_cert, table.client_key)
    )
    try:
        client = CloudClient(
            table.address,
            deadline_s=table.deadline_s,
            ca_cert=ca_cert,
            plaintext=plaintext_of(tls=table.tls, plaintext=None),
            files=ClientFiles(*shown),
            clock=clock,
        )
    except CloudError as error:
        raise RecipeError(f"expert: {error}") from error
    return ServerExpert(client, prompt=table.prompt, max_new_tokens=table.max_new_tokens)
