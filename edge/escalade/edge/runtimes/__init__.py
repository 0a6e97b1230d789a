"""Programs that generate, classify and score, each by its runtime; knows no text."""

from escalade.edge.runtimes.base import Runtime, Step
from escalade.edge.runtimes.cores import default_threads, threads_of
from escalade.edge.runtimes.opening import (
    open_gguf,
    open_llamacpp,
    open_onnx,
    open_runtime,
    open_sentence_encoder,
)
from escalade.edge.runtimes.program import (
    ATTENTION_MASK,
    CHUNK_TOKENS,
    CLASS_LOGPROBS,
    DECODER_ATTENTION_MASK,
    FORWARD,
    INPUT_IDS,
    LOGITS,
    LOGITS_TO_KEEP,
    LOGPROB,
    NEXT_TOKEN,
    PAST_PREFIX,
    PRESENT_PREFIX,
    SCORE,
    SENTENCE_EMBEDDING,
    data_name,
    joined_name,
)
from escalade.edge.runtimes.sampling import Draw, Sampling

__all__ = [
    "ATTENTION_MASK",
    "CHUNK_TOKENS",
    "CLASS_LOGPROBS",
    "DECODER_ATTENTION_MASK",
    "FORWARD",
    "INPUT_IDS",
    "LOGITS",
    "LOGITS_TO_KEEP",
    "LOGPROB",
    "NEXT_TOKEN",
    "PAST_PREFIX",
    "PRESENT_PREFIX",
    "SCORE",
    "SENTENCE_EMBEDDING",
    "Draw",
    "Runtime",
    "Sampling",
    "Step",
    "data_name",
    "default_threads",
    "joined_name",
    "open_gguf",
    "open_llamacpp",
    "open_onnx",
    "open_runtime",
    "open_sentence_encoder",
    "threads_of",
]
