"""Resumes a run that was cut off: from which checkpoint, and how; knows no recipe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from escalade.edge.base import UNDECODABLE, atomic_write, pretty_json, sha256_of

DIGESTS_NAME = "sha256.json"
# Of several processes each writes its own, when it likes.
_OTHERS = "rng_state_*"


class Sealing(TrainerCallback):
    """Leaves the digest of every file in a checkpoint that was just written."""

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """See `TrainerCallback`."""
        if not state.is_world_process_zero:
            return
        folder = Path(str(args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        digests = {
            path.name: sha256_of(path)
            for path in sorted(folder.iterdir())
            if path.is_file() and path.name != DIGESTS_NAME and not path.match(_OTHERS)
        }
        with atomic_write(folder / DIGESTS_NAME) as stream:
            stream.write(pretty_json(digests))


def last_checkpoint(state: Path, say: Callable[[str], None] = lambda line: None) -> Path | None:
    """The newest checkpoint that was written to its end (trainer_state.json comes last).

    One that is no longer what was written is passed over.

    Args:
        state: the folder of a run's checkpoints.
        say: told in a line of each that is damaged.
    """
    ended = [f.parent for f in state.glob(f"{PREFIX_CHECKPOINT_DIR}-*/{TRAINER_STATE_NAME}")]
    for folder in sorted(ended, key=_step_of, reverse=True):
        if (damaged := _damaged(folder)) is None:
            return folder
        say(f"{damaged} is damaged: the run goes on from the checkpoint before, or begins again")
    return None


def _damaged(folder: Path) -> Path | None:
    """A file of a checkpoint that is not what was written; None where all are, or it is not known.

    Nothing is known where a run was cut off just before the digests, or is an older version's.
    """
    path = folder / DIGESTS_NAME
    if not path.exists():
        return None
    try:
        digests = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except UNDECODABLE:
        return path
    for name, digest in digests.items():
        if not (folder / name).is_file() or sha256_of(folder / name) != digest:
            return folder / name
    return None if TRAINER_STATE_NAME in digests else path


def resume_training(trainer: Trainer, checkpoint: Path | None) -> None:
    """Train from a checkpoint to the end; from the beginning if None."""
    if checkpoint is None:
        trainer.train()
    elif _step_of(checkpoint) < trainer.args.max_steps:
        trainer.train(resume_from_checkpoint=str(checkpoint))
    else:  # cut off after its last step; transformers would take one more
        trainer._load_from_checkpoint(str(checkpoint))
        trainer.state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))


def forget_checkpoints(state: Path) -> None:
    """Take a run's checkpoints away, so that one cut off in between is none that goes on."""
    for path in state.glob(f"{PREFIX_CHECKPOINT_DIR}-*/{TRAINER_STATE_NAME}"):
        path.unlink()


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])
