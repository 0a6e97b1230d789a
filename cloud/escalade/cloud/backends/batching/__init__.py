"""Many sequences at once on one torch model, which join and leave at every step; knows no gRPC."""

from escalade.cloud.backends.batching.batcher import Batcher, Progress
from escalade.cloud.backends.batching.memory import KvMemory, kv_memory_of

__all__ = ["Batcher", "KvMemory", "Progress", "kv_memory_of"]
