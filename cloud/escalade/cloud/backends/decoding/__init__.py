"""What a torch model computes: greedy choices, alone and together, and scores; knows no text."""

from escalade.cloud.backends.decoding.batcher import Batcher, Progress
from escalade.cloud.backends.decoding.greedy import Greedy
from escalade.cloud.backends.decoding.memory import kv_memory_of
from escalade.cloud.backends.decoding.teacher_forcing import score_batch

__all__ = ["Batcher", "Greedy", "Progress", "kv_memory_of", "score_batch"]
