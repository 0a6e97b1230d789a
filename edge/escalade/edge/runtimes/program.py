"""Names and sizes that an exported program and its runtime agree on; loads neither."""

from __future__ import annotations

#: Names in an ONNX graph: those of optimum-onnx and onnxruntime-genai, and our two.
INPUT_IDS, ATTENTION_MASK = "input_ids", "attention_mask"
PAST_PREFIX, PRESENT_PREFIX = "past_key_values.", "present."
LOGITS = "logits"
NEXT_TOKEN, LOGPROB = "next_token", "logprob"
#: Which positions of what is read together these are given for, `(K,)`, negative ones from the
#: end: transformers' name. The last one where it is not fed; a graph without it knows no other.
LOGITS_TO_KEEP = "logits_to_keep"
#: What a classifier's graph gives.
CLASS_LOGPROBS = "class_logprobs"
#: What a sentence encoder's gives, as optimum-onnx names it.
SENTENCE_EMBEDDING = "sentence_embedding"
#: Of an encoder-decoder's decoder, as optimum-onnx names it.
DECODER_ATTENTION_MASK = "decoder_attention_mask"

#: Methods of an ExecuTorch program: logits for a caller that draws, and a greedy token with its
#: score.
FORWARD, SCORE = "forward", "score"

#: Tokens of a prompt that are read in one piece: a cancel waits for one, and the memory for
#: intermediate results grows with it.
CHUNK_TOKENS = 128


def data_name(program: str) -> str:
    """The file in which an ONNX program's weights are stored."""
    return f"{program}.data"


def joined_name(program: str) -> str:
    """What its graph calls the file of what they join to, which is in memory alone."""
    return f"{program}.joined"
