"""Reads how a gateway learns (TOML), and which stores its cascade's tiers are of; opens none."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from escalade.edge.base import OpenShare, Positive, Seed
from escalade.edge.cascade_file import CascadeFile, member_tables, read_cascade_file, tier_name
from escalade.edge.store import CURRENT
from escalade.training.errors import RecipeError
from escalade.training.online import (
    EVENTS_NAME,
    ColumnTable,
    Configuration,
    EncoderTable,
    LinearTable,
    check_configuration,
    resolved_levels,
)
from escalade.training.tables import Table, parse_tables, toml_text


class LearnSettings(Table, frozen=True):
    """A whole file; paths are relative to its folder."""

    labels: Annotated[list[str], msgspec.Meta(min_length=2, max_length=10_000)]
    #: Each called like the tier that it is.
    level: Annotated[list[LinearTable | EncoderTable], msgspec.Meta(min_length=1, max_length=16)]
    seed: Seed = 1
    #: Holds what was asked and answered, and how far it was learned from.
    folder: str = "learned"
    #: Of all queries; what of them was kept is sent up too, after its answer.
    share: OpenShare = 0.05
    #: Of these queries so many, the latest, set the thresholds, and are not learned from.
    window: Annotated[int, msgspec.Meta(ge=20, le=1_000_000)] = 500
    #: Share of all queries whose answer is kept and is not the expert's, at most; exceeded with
    #: probability `delta` at most. Levels share both.
    epsilon: OpenShare = 0.05
    delta: OpenShare = 0.1
    #: Queries that are taken between two versions.
    publish_items: Positive = 256
    #: PEM; signs each version.
    private_key: str | None = None


class LearnPlan:
    """A file of settings, beside the cascade's that learns."""

    def __init__(self, path: Path, cascade: Path) -> None:
        """Read both.

        Args:
            path: of the settings.
            cascade: the `cascade.toml`.

        Raises:
            RecipeError: the settings cannot be read, or do not fit the cascade.
            CascadeError: the cascade's file cannot be read.
        """
        self.settings = settings = parse_tables(toml_text(path), path, LearnSettings)
        self.configuration = Configuration(
            labels=settings.labels,
            expert=ColumnTable(column="expert"),
            level=resolved_levels(settings.level, path.parent),
            seed=settings.seed,
        )
        check_configuration(self.configuration, path)
        self.folder = path.parent / settings.folder
        if (self.folder / EVENTS_NAME).exists():
            raise RecipeError(
                f"{path}: folder {settings.folder!r} is of a run over a stream; name another"
            )
        self.feed, self.checkpoint = self.folder / "feed", self.folder / "checkpoint.safetensors"
        key = settings.private_key
        self.private_key = None if key is None else path.parent / key
        content = read_cascade_file(cascade)
        if content.tiers[-1].address is None:
            raise RecipeError(f"{cascade}: its last tier must have an address: it is who teaches")
        #: Of each level.
        self.stores = [_store_of(path, cascade, content, one.name) for one in settings.level]


def _store_of(path: Path, cascade: Path, content: CascadeFile, name: str) -> Path:
    for index, table in enumerate(content.tiers[:-1]):
        if tier_name(table, index) != name:
            continue
        members = member_tables(table)
        if len(members) != 1 or Path(members[0].artifact).name != CURRENT:
            raise RecipeError(
                f"{cascade}: tier {name!r}: must have one member, STORE/{CURRENT}, to learn"
            )
        if members[0].manifest_sha256 or (table.gate and table.gate.threshold is not None):
            raise RecipeError(
                f"{cascade}: tier {name!r}: manifest_sha256 and gate.threshold must not be given:"
                " what it learns brings its own"
            )
        return cascade.parent / Path(members[0].artifact).parent
    names = ", ".join(tier_name(table, k) for k, table in enumerate(content.tiers[:-1]))
    raise RecipeError(f"{path}: level {name!r}: must be a tier below the last, one of {names}")
