"""What a model's folder says, read in one place for export, server and training; needs torch.

The device never reads one: it opens artifacts.
"""

from escalade.checkpoint.classification import (
    classifier_window,
    is_classifier,
    is_sentence_encoder,
    labels_of,
)
from escalade.checkpoint.errors import CheckpointError, first_line
from escalade.checkpoint.exportable import (
    ACTIVATIONS,
    LONGEST_WINDOW,
    Activation,
    aligned_angles,
    check_onnx,
    check_rotary,
    window_of,
)
from escalade.checkpoint.generation import GREEDY, Generation, read_generation
from escalade.checkpoint.loading import (
    load_classifier,
    load_encoder,
    load_network,
    load_sentence_encoder,
)
from escalade.checkpoint.locating import HUB, Located, locate
from escalade.checkpoint.prompts import MOST_PROMPTS, PROMPTS_NAME
from escalade.checkpoint.sentences import MeanClassifier, longest_sentence
from escalade.checkpoint.tokenizers import (
    check_vocabulary,
    load_tokenizer,
    probing_texts,
    tokenizer_fingerprint,
    tokenizer_json,
)

__all__ = [
    "ACTIVATIONS",
    "GREEDY",
    "HUB",
    "LONGEST_WINDOW",
    "MOST_PROMPTS",
    "PROMPTS_NAME",
    "Activation",
    "CheckpointError",
    "Generation",
    "Located",
    "MeanClassifier",
    "aligned_angles",
    "check_onnx",
    "check_rotary",
    "check_vocabulary",
    "classifier_window",
    "first_line",
    "is_classifier",
    "is_sentence_encoder",
    "labels_of",
    "load_classifier",
    "load_encoder",
    "load_network",
    "load_sentence_encoder",
    "load_tokenizer",
    "locate",
    "longest_sentence",
    "probing_texts",
    "read_generation",
    "tokenizer_fingerprint",
    "tokenizer_json",
    "window_of",
]
