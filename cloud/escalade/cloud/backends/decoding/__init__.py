"""What a torch model computes: choices, alone and together, and scores; knows no text."""

from escalade.cloud.backends.decoding.batcher import Batcher, Progress
from escalade.cloud.backends.decoding.choosing import Chooser, chooser_of
from escalade.cloud.backends.decoding.greedy import Greedy
from escalade.cloud.backends.decoding.memory import kv_memory_of
from escalade.cloud.backends.decoding.teacher_forcing import score_batch

__all__ = [
    "Batcher",
    "Chooser",
    "Greedy",
    "Progress",
    "chooser_of",
    "kv_memory_of",
    "score_batch",
]
