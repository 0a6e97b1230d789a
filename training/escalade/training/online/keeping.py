"""Makes a checkpoint of a run's parts, and the parts of a checkpoint; knows no file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from numpy.typing import NDArray

from escalade.edge.errors import DataError
from escalade.training.audit import Audit
from escalade.training.online.levels import Calibrators, Example, Tensors
from escalade.training.online.record import Arrays, Checkpoint, RungState, Tally, new_tally
from escalade.training.online.walking import Rung

_CALIBRATORS = "calibrators"


class Position(NamedTuple):
    """How far a run is."""

    items: int = 0
    #: CRC-32 over their texts.
    crc32: int = 0
    #: Of the expert, and whether it failed last time.
    model: str = ""
    failing: bool = False
    #: Of all sessions.
    seconds: float = 0.0


class Restored(NamedTuple):
    """What a run goes on with, beside its levels and calibrators."""

    position: Position
    tally: Tally
    #: Of the last figures.
    told: Tally
    #: Of the files, by name.
    sizes: Mapping[str, int]
    audit: Audit | None


def saved(
    configuration: dict[str, Any],
    position: Position,
    rungs: Sequence[Rung],
    calibrators: Calibrators | None,
    *,
    audit: Audit | None,
    tally: Tally,
    told: Tally,
    sizes: dict[str, int],
) -> tuple[Checkpoint, Arrays]:
    """A checkpoint of the parts as they are."""
    arrays: Arrays = {}
    for rung in rungs:
        arrays |= _under(rung.name, rung.level.state())
    if calibrators is not None:
        arrays |= _under(_CALIBRATORS, calibrators.state())
    states = [
        RungState(
            updates=rung.updates,
            raised_at=rung.raised_at,
            cache=[(one.text, one.label) for one in rung.cache],
        )
        for rung in rungs
    ]
    checkpoint = Checkpoint(
        configuration=configuration,
        items=position.items,
        crc32=position.crc32,
        model=position.model,
        failing=position.failing,
        seconds=position.seconds,
        rungs=states,
        audit=None if audit is None else audit.state(),
        tally=tally,
        told=told,
        sizes=sizes,
    )
    return checkpoint, arrays


def restored(
    found: tuple[Checkpoint, Arrays] | None,
    rungs: Sequence[Rung],
    calibrators: Calibrators | None,
    audit: Audit | None,
    *,
    classes: int,
) -> Restored:
    """Put the parts where a checkpoint was; where there is none, all begins.

    Raises:
        DataError: it is of another version.
        RecipeError: it is of another encoder.
    """
    if found is None:
        names = [rung.name for rung in rungs]
        return Restored(Position(), new_tally(names, classes), new_tally(names, classes), {}, audit)
    checkpoint, arrays = found
    for rung, state in zip(rungs, checkpoint.rungs, strict=True):
        with _whole(rung.name):
            rung.level.restore(_of(rung.name, arrays))
        rung.updates, rung.raised_at = state.updates, state.raised_at
        rung.cache = [Example(text, label) for text, label in state.cache]
    if calibrators is not None:
        with _whole(_CALIBRATORS):
            calibrators.restore(_of(_CALIBRATORS, arrays))
    position = Position(
        checkpoint.items,
        checkpoint.crc32,
        checkpoint.model,
        checkpoint.failing,
        checkpoint.seconds,
    )
    again = None if checkpoint.audit is None else Audit.restored(checkpoint.audit)
    return Restored(position, checkpoint.tally, checkpoint.told, checkpoint.sizes, again)


@contextmanager
def _whole(name: str) -> Iterator[None]:
    """Refuse a state that lacks what is read from it."""
    try:
        yield
    except KeyError as error:
        raise DataError(
            f"checkpoint: {name} lacks {error}: written by another version; name another folder"
        ) from error


def _under(name: str, state: Mapping[str, NDArray[Any]]) -> Tensors:
    return {f"{name}/{key}": array for key, array in state.items()}


def _of(name: str, arrays: Mapping[str, NDArray[Any]]) -> Tensors:
    return {
        key.removeprefix(f"{name}/"): array
        for key, array in arrays.items()
        if key.startswith(f"{name}/")
    }
