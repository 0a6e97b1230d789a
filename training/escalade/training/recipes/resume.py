"""Resumes a run that was cut off: from which checkpoint, and how; knows no recipe."""

from __future__ import annotations

from pathlib import Path

from transformers import Trainer, TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR


def last_checkpoint(state: Path) -> Path | None:
    """The newest checkpoint that was written to its end (trainer_state.json comes last)."""
    whole = [f.parent for f in state.glob(f"{PREFIX_CHECKPOINT_DIR}-*/{TRAINER_STATE_NAME}")]
    return max(whole, key=_step_of, default=None)


def resume_training(trainer: Trainer, checkpoint: Path | None) -> None:
    """Train from a checkpoint to the end; from the beginning if None."""
    if checkpoint is None:
        trainer.train()
    elif _step_of(checkpoint) < trainer.args.max_steps:
        trainer.train(resume_from_checkpoint=str(checkpoint))
    else:  # cut off after its last step; transformers would take one more
        trainer._load_from_checkpoint(str(checkpoint))
        trainer.state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])
