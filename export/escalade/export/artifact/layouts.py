"""Writes what other libraries want beside a program, so that they open it; knows no graph.

`optimum` is for optimum-onnx's `ORTModelForCausalLM`, `genai` for onnxruntime-genai. Both find
the program's inputs and outputs by the names it has anyway; genai's gives the last position alone.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from transformers import PreTrainedModel

from escalade.edge.artifact import ModelEntry
from escalade.edge.runtimes import ATTENTION_MASK, INPUT_IDS, LOGITS, PAST_PREFIX, PRESENT_PREFIX
from escalade.export.errors import OptionError
from escalade.export.settings import Layout

GENAI_CONFIG_NAME = "genai_config.json"
#: What transformers saves a config as; of an artifact's files only optimum's layout has it.
OPTIMUM_CONFIG_NAME = "config.json"
TOKENIZER_CONFIG_NAME = "tokenizer_config.json"
# Takes tokenizer.json whole; transformers 5 writes another name, but every version knows this one.
_OLD_CLASS = "PreTrainedTokenizerFast"
# The type says no more than how a program is driven, and all of ours are driven as a Llama is.
# By their own names onnxruntime-genai 0.18 refuses GPT-NeoX and expects other inputs of GPT-2.
_GENAI_TYPE = "llama"


def write_layout(
    layout: Layout, model_dir: Path, folder: Path, model: PreTrainedModel, entry: ModelEntry
) -> None:
    """Write the files that a library wants beside `model.onnx` and `tokenizer.json`.

    Args:
        layout: whose.
        model_dir: where the model was loaded from.
        folder: the artifact; its manifest is not written yet, so that it will list them.
        model: the loaded model.
        entry: what the manifest will say of it.

    Raises:
        OptionError: the library cannot open a model of this kind.
    """
    if entry.decoder_start_id is not None:
        raise OptionError(f"--layout is for decoder-only models, got {layout} for {model_dir}")
    if layout == "optimum":
        _write_optimum(model_dir, folder, model, entry)
    else:
        _write_json(folder / GENAI_CONFIG_NAME, _genai_config(model, entry))
    _write_tokenizer_settings(model_dir, folder)


def layout_of(files: Iterable[str]) -> Layout | None:
    """The layout that an artifact was given, by the names of its files; None if it has none.

    `generation_config.json` says nothing: optimum's layout has it where the model's folder did.
    """
    names = set(files)
    if GENAI_CONFIG_NAME in names:
        return "genai"
    return "optimum" if OPTIMUM_CONFIG_NAME in names else None


def fit_program(layout: Layout, program: Path) -> None:
    """Make of a program that is written what the library drives."""
    from escalade.export.onnx import pin_last

    if layout == "genai":
        pin_last(program)


def _write_tokenizer_settings(model_dir: Path, folder: Path) -> None:
    source = model_dir / TOKENIZER_CONFIG_NAME
    settings: dict[str, object] = json.loads(source.read_bytes()) if source.is_file() else {}
    # The file beside it says all; a class would build some of it anew, and clean up twice.
    settings["tokenizer_class"] = _OLD_CLASS
    settings["clean_up_tokenization_spaces"] = False
    _write_json(folder / TOKENIZER_CONFIG_NAME, settings)


def _write_optimum(
    model_dir: Path, folder: Path, model: PreTrainedModel, entry: ModelEntry
) -> None:
    config = copy.deepcopy(model.config)
    usual = config.hidden_size // config.num_attention_heads
    if entry.head_dim != usual:  # optimum-onnx 0.1.0 shapes the first, empty cache so
        raise OptionError(
            f"--layout optimum needs head_dim = hidden_size / num_attention_heads = {usual},"
            f" got {entry.head_dim} in {model_dir}"
        )
    config.max_position_embeddings = entry.window  # the program has no angles for later ones
    config.save_pretrained(folder)
    generation = model_dir / "generation_config.json"
    if generation.is_file():  # without one, optimum takes the config's
        shutil.copyfile(generation, folder / generation.name)


def _genai_config(model: PreTrainedModel, entry: ModelEntry) -> dict[str, object]:
    from escalade.export.onnx import PROGRAM_NAME

    config = model.config.get_text_config()
    decoder = {
        "session_options": {"provider_options": []},
        "filename": PROGRAM_NAME,
        "hidden_size": config.hidden_size,
        "head_size": entry.head_dim,
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": entry.kv_heads,
        "num_hidden_layers": entry.layers,
        "inputs": {
            "input_ids": INPUT_IDS,
            "attention_mask": ATTENTION_MASK,
            "past_key_names": f"{PAST_PREFIX}%d.key",
            "past_value_names": f"{PAST_PREFIX}%d.value",
        },
        "outputs": {
            "logits": LOGITS,
            "present_key_names": f"{PRESENT_PREFIX}%d.key",
            "present_value_names": f"{PRESENT_PREFIX}%d.value",
        },
    }
    ends = entry.end_of_sequence_ids
    begins = {} if config.bos_token_id is None else {"bos_token_id": config.bos_token_id}
    return {
        "model": {
            "type": _GENAI_TYPE,
            "context_length": entry.window,
            "vocab_size": entry.vocabulary_size,
            **begins,
            "eos_token_id": ends,
            "pad_token_id": ends[0] if config.pad_token_id is None else config.pad_token_id,
            "decoder": decoder,
        },
        # One buffer as past and as present: the program writes into it in place.
        "search": {"max_length": entry.window, "past_present_share_buffer": True},
    }


def _write_json(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
