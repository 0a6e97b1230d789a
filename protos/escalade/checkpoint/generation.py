"""What a model's folder says of its answers: where they begin and end; refuses what greedy is not.

The settings are those that transformers' own `generate` would go by: `generation_config.json`, or
where there is none, what `config.json` holds of them. Greedy decoding takes the likeliest token;
whatever else would choose the next token is refused by name, and so is what is not known. Knows no
weights and no text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from transformers import GenerationConfig, PreTrainedModel

from escalade.checkpoint.errors import CheckpointError
from escalade.checkpoint.files import CONFIG_NAME, GENERATION_CONFIG_NAME, read_object

#: What transformers' `generate` is asked for, over the folder's own settings: the greedy answer as
#: it stands. An answer that reaches its longest length is cut there, and whoever gives it says so;
#: transformers would put `forced_eos_token_id` in place of its last token.
GREEDY: Final[dict[str, object]] = {
    "do_sample": False,
    "forced_eos_token_id": None,
    "return_dict_in_generate": False,
    "cache_implementation": None,
}

# Of transformers' GenerationConfig 5.23, what leaves the greedy choice of a token alone: how draws
# are made, how beams end, where a draft model stops, caches, outputs, lengths (the caller's).
_HARMLESS = frozenset({
    "do_sample", "temperature", "top_k", "top_p", "min_p", "top_h", "typical_p",
    "epsilon_cutoff", "eta_cutoff", "renormalize_logits",
    "early_stopping", "length_penalty", "low_memory",
    "num_assistant_tokens", "num_assistant_tokens_schedule", "assistant_confidence_threshold",
    "assistant_lookbehind", "target_lookbehind", "max_matching_ngram_size",
    "use_cache", "cache_config", "max_cache_len", "prefill_chunk_size",
    "compile_config", "disable_compile", "continuous_batching_config",
    "output_attentions", "output_hidden_states", "output_scores", "output_logits",
    "return_dict_in_generate", "max_length", "max_new_tokens", "forced_eos_token_id",
    "pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id",
    "_from_model_config", "transformers_version",
})  # fmt: skip
# The values of others that change nothing; None never does.
_NEUTRAL: dict[str, tuple[object, ...]] = {
    "num_beams": (1,),
    "num_beam_groups": (1,),
    "num_return_sequences": (1,),
    "diversity_penalty": (0,),
    "repetition_penalty": (1,),
    "encoder_repetition_penalty": (1,),
    "no_repeat_ngram_size": (0,),
    "encoder_no_repeat_ngram_size": (0,),
    "min_length": (0,),
    "min_new_tokens": (0,),
    "guidance_scale": (1,),
    "penalty_alpha": (0,),
    "suppress_tokens": ([],),
    "begin_suppress_tokens": ([],),
    "remove_invalid_values": (False,),
    "token_healing": (False,),
    "is_assistant": (False,),
    "use_mtp": (False,),
    # Not `quantized`, whose keys and values are rounded.
    "cache_implementation": ("dynamic", "static", "hybrid", "sliding_window", "offloaded"),
}


class Generation(NamedTuple):
    """How a model's greedy answers begin and end."""

    #: Tokens that end an answer, at least 1.
    end_ids: tuple[int, ...]
    #: What the decoder of an encoder-decoder begins with.
    decoder_start_id: int | None
    #: Longest answer that the folder asks for, in tokens.
    max_new_tokens: int | None


def read_generation(model: PreTrainedModel, folder: Path | None = None) -> Generation:
    """How a loaded model answers.

    Args:
        model: with the settings that transformers read beside it.
        folder: where from; None for a model that was made here.

    Raises:
        CheckpointError: it would not answer greedily, never end, or not begin; or names tokens
            that are none.
    """
    where, written = _source(folder)
    settings = model.generation_config or GenerationConfig()
    said = settings.to_dict()
    strange = [
        f"{name} {value!r}"
        # What transformers does not know, it may drop; what it knows, it may wrap.
        for name, value in sorted({**said, **written}.items())
        if value is not None and name not in _HARMLESS and value not in _NEUTRAL.get(name, ())
    ]
    if strange:
        raise CheckpointError(
            f"{where}: not taken: {', '.join(strange)}; answers are greedy, each token the"
            " likeliest: delete it there to have them so"
        )
    vocabulary = int(model.config.get_text_config(decoder=True).vocab_size)
    ends = said.get("eos_token_id")
    if ends is None or ends == []:
        elsewhere = getattr(model.config.get_text_config(decoder=True), "eos_token_id", None)
        also = "" if elsewhere is None else f" ({CONFIG_NAME} alone does: {elsewhere})"
        raise CheckpointError(f"{where}: names no eos_token_id{also}: answers would never end")
    for name in ("bos_token_id", "pad_token_id", "max_new_tokens"):  # transformers would read them
        value = said.get(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise CheckpointError(f"{where}: {name} must be a whole number, got {value!r}")
    several = ends if isinstance(ends, list | tuple) else [ends]
    return Generation(
        tuple(_token(where, "eos_token_id", one, vocabulary) for one in several),
        _decoder_start(model, said, where, vocabulary),
        said.get("max_new_tokens"),
    )


def _decoder_start(
    model: PreTrainedModel, said: dict[str, object], where: str, vocabulary: int
) -> int | None:
    if not model.config.is_encoder_decoder:
        return None
    for name in ("decoder_start_token_id", "bos_token_id"):  # as transformers falls back
        if said.get(name) is not None:
            return _token(where, name, said[name], vocabulary)
    raise CheckpointError(
        f"{where}: names no decoder_start_token_id: what would its decoder begin with?"
    )


def _token(where: str, name: str, value: object, vocabulary: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < vocabulary:
        raise CheckpointError(
            f"{where}: {name} must be a whole number in [0, {vocabulary - 1}], got {value!r}"
        )
    return value


def _source(folder: Path | None) -> tuple[str, dict[str, object]]:
    """The file that the settings stand in, and what is written there of nothing else."""
    if folder is None:
        return "the model", {}
    path = folder / GENERATION_CONFIG_NAME
    if not path.exists():
        return str(folder / CONFIG_NAME), {}
    return str(path), read_object(path)
