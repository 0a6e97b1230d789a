"""The model that is timed, the lengths, and the targets; knows no peer and imports nothing heavy.

The shape is SmolLM2-135M's (hidden 576, 30 layers, 9 query and 3 key/value heads, tied head).
"""

from __future__ import annotations

SEED = 1
LAYERS = 30
HIDDEN = 576
HEADS = 9
KV_HEADS = 3
HEAD_DIM = 64
FEED_FORWARD = 1536
VOCABULARY = 49_152
WINDOW = 2048
ROPE_THETA = 10_000.0
NORM_EPSILON = 1e-5
#: Standard deviation of the random weights, as transformers initializes a Llama.
WEIGHT_STD = 0.02
#: Ends a response. No run may meet it: every worker's token count is checked.
END_ID = VOCABULARY - 1

BLOCK_SIZE = 32
PROMPTS = (128, 512)
NEW_TOKENS = 128
THREADS = (1, 2)


def kv_bytes_per_position(bytes_per_number: int) -> int:
    """Bytes of keys and values of one position in all layers."""
    return 2 * LAYERS * KV_HEADS * HEAD_DIM * bytes_per_number
