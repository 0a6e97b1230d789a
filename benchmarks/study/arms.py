"""What the study compares, and its settings; knows no model and no result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from escalade.training.losses import LOSSES, LossName

CHECKPOINTS = Path(__file__).parents[2] / "training" / "checkpoints"

#: `bundled` as it is; `noisy` with wrong answers mixed in; `dropped` is `noisy` without them.
Data = Literal["bundled", "noisy", "dropped"]


class Arm(NamedTuple):
    """One way to train the small model."""

    name: str
    loss: LossName
    data: Data = "bundled"
    #: Filter as many tokens of each batch as the loss would, but chosen at random.
    shuffled: bool = False


#: The paper's four losses and its four ablations (equations 2, 3, 7, 8, 11 to 14).
LOSS_ARMS = tuple(Arm(loss, loss) for loss in LOSSES)
#: The same share of tokens filtered, but not the hard ones.
CONTROL_ARMS = (Arm("cat-xent-shuffled", "cat-xent", shuffled=True),)
#: How much of the gain is label noise filtered? Known noise, to be kept, filtered or dropped.
NOISE_ARMS = (
    Arm("noisy-xent", "xent", "noisy"),
    Arm("noisy-cat-xent", "cat-xent", "noisy"),
    Arm("noisy-cat-xent-shuffled", "cat-xent", "noisy", shuffled=True),
    Arm("noisy-xent-dropped", "xent", "dropped"),
)
ARMS = {arm.name: arm for arm in (*LOSS_ARMS, *CONTROL_ARMS, *NOISE_ARMS)}


@dataclass(frozen=True)
class Settings:
    """Everything a study depends on, but for the bundled checkpoints."""

    out: Path
    seeds: tuple[int, ...] = (1, 2, 3)
    steps: int = 1000
    batch_size: int = 256
    #: Chosen on the validation split by `--pilot`.
    learning_rate: float = 4e-3
    #: Share of the one-hot term; the paper's choice (section 4.1).
    w: float = 0.5
    #: Training queries, evenly spread over the split.
    train_queries: int = 200_000
    valid_queries: int = 2000
    test_queries: int = 6000
    #: Log-probabilities the prediction cache keeps of each token.
    top_k: int = 8
    #: Share of training queries given another query's answer in the noisy arms.
    noise: float = 0.2
    noise_seed: int = 7
    base: Path = CHECKPOINTS / "small-base"
    large: Path = CHECKPOINTS / "large"

    def folder(self, arm: str, seed: int) -> Path:
        """Where a run leaves its model and traces."""
        return self.out / f"{arm}-{seed}"
