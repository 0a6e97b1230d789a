"""What the study compares, its settings, and which rounds make which model; knows no result.

Every model is trained in two rounds of as many steps, each one recipe: the second goes on from the
first, with its own schedule. That is so for all, also where nothing changes between the rounds, so
that arms differ in what they compare alone. Medium's teacher is large. Small's teachers are medium
and large; which medium it sees is the order of training:

    before        medium is finished first: small sees medium after round 2, in both rounds
    after         medium is trained last: small sees medium before round 1, in both rounds
    alternating   small, medium, small, medium: small sees medium before round 1, then after it
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from escalade.training.losses import Alpha, LossName

CHECKPOINTS = Path(__file__).parents[2] / "training" / "checkpoints"
ROUNDS = 2

Size = Literal["small", "medium"]
BEFORE, AFTER, ALTERNATING = (2, 2), (0, 0), (0, 1)


class Arm(NamedTuple):
    """One way to train the small model, and the medium one that it stands before."""

    name: str
    loss: LossName
    alpha: Alpha = "any"
    #: After how many of medium's rounds small sees it, in each of small's.
    sees: tuple[int, int] = BEFORE
    medium: str = "cat"


#: The baseline; the four kinds of alpha; the two other orders.
ARMS = (
    Arm("xent", "xent", medium="xent"),
    Arm("last", "cat-xent", "last"),
    Arm("next", "cat-xent", "next"),
    Arm("any", "cat-xent", "any"),
    Arm("soft", "cat-xent", "soft"),
    Arm("any, after", "cat-xent", "any", AFTER),
    Arm("any, alternating", "cat-xent", "any", ALTERNATING),
)
MEDIUM_LOSSES: dict[str, LossName] = {"cat": "cat-xent", "xent": "xent"}


class Round(NamedTuple):
    """One run of a recipe."""

    name: str
    size: Size
    loss: LossName
    alpha: Alpha
    #: The round it goes on from; None is where its size begins.
    start: str | None
    #: The medium model that it sees, of an earlier round or the first; None for medium itself.
    medium: str | None
    number: int


def medium_name(loss: str, rounds: int) -> str:
    """What a medium model is called after so many rounds."""
    return f"medium-{loss}-{rounds}" if rounds else "medium-base"


def small_name(arm: Arm, rounds: int = ROUNDS) -> str:
    """What a small model is called after so many rounds: arms that begin alike share the first."""
    criterion = arm.alpha if arm.loss == "cat-xent" else arm.loss
    return f"small-{criterion}-" + "".join(str(seen) for seen in arm.sees[:rounds])


def rounds() -> list[Round]:
    """Every run of one seed, each once, after those that it needs."""
    found: dict[str, Round] = {}
    for name, loss in MEDIUM_LOSSES.items():
        for number in range(1, ROUNDS + 1):
            start = medium_name(name, number - 1) if number > 1 else None
            one = Round(medium_name(name, number), "medium", loss, "any", start, None, number)
            found[one.name] = one
    for arm in ARMS:
        for number in range(1, ROUNDS + 1):
            start = small_name(arm, number - 1) if number > 1 else None
            seen = medium_name("cat", arm.sees[number - 1])
            name = small_name(arm, number)
            found.setdefault(name, Round(name, "small", arm.loss, arm.alpha, start, seen, number))
    return list(found.values())


@dataclass(frozen=True)
class Settings:
    """Everything the study depends on, but for the bundled checkpoints."""

    out: Path
    seeds: tuple[int, ...] = (1, 2, 3)
    #: Of one round.
    steps: int = 250
    #: Of the medium model, before all seeds.
    base_steps: int = 400
    batch_size: int = 256
    #: Chosen on the validation split by `--pilot`, with plain cross-entropy.
    learning_rate: float = 1e-3
    train_queries: int = 64_000
    #: Set the thresholds.
    valid_queries: int = 2000
    test_queries: int = 6000
    #: Of large's four, and of its 512 neurons in each: some 2 x 258,000 parameters, between
    #: small's 112,192 and large's 1,787,328.
    medium_layers: tuple[int, ...] = (0, 3)
    medium_width: int = 176
    small: Path = CHECKPOINTS / "small-base"
    large: Path = CHECKPOINTS / "large"

    def folder(self, seed: int, name: str) -> Path:
        """Where a round leaves its model and answers; the first medium model is all seeds'."""
        if name == "medium-base":
            return self.out / name
        return self.out / f"seed-{seed}" / name
