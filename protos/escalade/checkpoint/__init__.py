"""What a model's folder says, read in one place for export, server and training; needs torch.

The device never reads one: it opens artifacts. A name is loaded when it is asked for: that there is
no such folder is said before torch, which takes seconds, is loaded.
"""

from typing import TYPE_CHECKING

from escalade.v1.lazy import lazy

if TYPE_CHECKING:
    from escalade.checkpoint.bars import no_bars
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
    from escalade.checkpoint.folders import check_model, check_settings
    from escalade.checkpoint.generation import GREEDY, Generation, read_generation
    from escalade.checkpoint.loading import (
        load_classifier,
        load_encoder,
        load_network,
        load_sentence_encoder,
    )
    from escalade.checkpoint.locating import HUB, Located, check_there, locate
    from escalade.checkpoint.prompts import MOST_PROMPTS, PROMPTS_NAME
    from escalade.checkpoint.sentences import MeanClassifier, longest_sentence
    from escalade.checkpoint.tokenizers import (
        check_vocabulary,
        load_tokenizer,
        probing_texts,
        tokenizer_fingerprint,
        tokenizer_json,
    )
else:
    _HOMES = {
        "ACTIVATIONS": "exportable",
        "GREEDY": "generation",
        "HUB": "locating",
        "LONGEST_WINDOW": "exportable",
        "MOST_PROMPTS": "prompts",
        "PROMPTS_NAME": "prompts",
        "Activation": "exportable",
        "CheckpointError": "errors",
        "Generation": "generation",
        "Located": "locating",
        "MeanClassifier": "sentences",
        "aligned_angles": "exportable",
        "check_model": "folders",
        "check_onnx": "exportable",
        "check_rotary": "exportable",
        "check_settings": "folders",
        "check_there": "locating",
        "check_vocabulary": "tokenizers",
        "classifier_window": "classification",
        "first_line": "errors",
        "is_classifier": "classification",
        "is_sentence_encoder": "classification",
        "labels_of": "classification",
        "load_classifier": "loading",
        "load_encoder": "loading",
        "load_network": "loading",
        "load_sentence_encoder": "loading",
        "load_tokenizer": "tokenizers",
        "locate": "locating",
        "longest_sentence": "sentences",
        "no_bars": "bars",
        "probing_texts": "tokenizers",
        "read_generation": "generation",
        "tokenizer_fingerprint": "tokenizers",
        "tokenizer_json": "tokenizers",
        "window_of": "exportable",
    }

    __getattr__, __dir__ = lazy(__name__, _HOMES)


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
    "check_model",
    "check_onnx",
    "check_rotary",
    "check_settings",
    "check_there",
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
    "no_bars",
    "probing_texts",
    "read_generation",
    "tokenizer_fingerprint",
    "tokenizer_json",
    "window_of",
]
