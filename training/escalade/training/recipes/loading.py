"""Loads what a recipe names: tokenizer, records, model, teacher's model; knows no optimizer."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal, cast

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from escalade.checkpoint import (
    CheckpointError,
    Located,
    check_onnx,
    load_network,
    locate,
    read_generation,
    tokenizer_fingerprint,
    window_of,
)
from escalade.checkpoint import load_tokenizer as load_tokenizer_of
from escalade.edge.base import Record, listed, nearest, read_records, subsample
from escalade.training.data import load_pronunciations, make_records, save_tokenizer
from escalade.training.errors import RecipeError
from escalade.training.recipes.recipe import BUNDLED, Recipe, split_files
from escalade.training.teachers import LocalTeacher, check_tokenizers
from escalade.v1.identity import weights_revision

#: What transformers' configs accept and turn into something else.
_ALSO_TAKEN = ("attn_implementation", "partial_rotary_factor", "rope_theta")


def load_tokenizer(recipe: Recipe) -> PreTrainedTokenizerFast:
    """The tokenizer a recipe names.

    Raises:
        RecipeError: none is named, it cannot be loaded, or it has no end-of-sequence token.
    """
    source = recipe.tokenizer or recipe.model.path
    if source is None:
        raise RecipeError(f"tokenizer is missing: a folder, or {BUNDLED!r}")
    if source == BUNDLED:
        with tempfile.TemporaryDirectory() as folder:
            save_tokenizer(Path(folder))
            tokenizer = _tokenizer(folder)
    else:
        tokenizer = _tokenizer(source)
    if tokenizer.eos_token_id is None:
        raise RecipeError(f"the tokenizer {source!r} has no end-of-sequence token")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_records(recipe: Recipe) -> tuple[list[Record], list[Record]]:
    """The training and the validation queries.

    Raises:
        DataError: a file of the user's own cannot be read; the message names the line.
    """
    if recipe.data.source == BUNDLED:
        pronunciations = load_pronunciations()
        train = list(make_records("train", pronunciations))
        valid = list(make_records("valid", pronunciations))
    else:
        train, valid = map(read_records, split_files(recipe.data.source))
    return subsample(train, recipe.data.train_size), valid


def load_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """The model to fine-tune, or a new one made from the recipe's config.

    Raises:
        RecipeError: it cannot be loaded, or the config has an unknown or wrong value; or answers
            as it would be trained to give are none that it would end.
    """
    if recipe.model.path is not None:
        # Trained in float32 however it is stored: AdamW's small steps round to 0 in bfloat16.
        model = _network(recipe.model.path, torch.float32)
    else:
        model = _new_model(recipe, tokenizer)
    _check_answers(model, tokenizer, recipe.model.path)
    return model


def _new_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    given = dict(recipe.model.config or {})
    model_type = given.pop("model_type", None)
    try:
        known = AutoConfig.for_model(model_type)
        unknown = [key for key in given if key not in _ALSO_TAKEN and not hasattr(known, key)]
        if unknown:  # transformers would keep it and build a model without it
            hint = nearest(unknown[0], known.to_dict())
            raise ValueError(f"{model_type} knows no {unknown[0]!r}{hint}")
        config = AutoConfig.for_model(
            model_type,
            **given,
            vocab_size=len(tokenizer),
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=tokenizer.bos_token_id,
        )
        auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        if config.is_encoder_decoder and getattr(config, "decoder_start_token_id", None) is None:
            config.decoder_start_token_id = tokenizer.pad_token_id  # as T5 does
        model: PreTrainedModel = auto.from_config(config)
    # Each architecture checks its config in a way and with an error of its own.
    except Exception as error:
        raise RecipeError(f"model.config: {_first_line(error)}") from error
    return model


def _check_answers(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, path: str | None
) -> None:
    """What the model learns to say must be what it would say, and be saved with it."""
    name = path or "model.config"
    try:
        generation = read_generation(model, None if path is None else located(path).folder)
        assert model.generation_config is not None  # noqa: S101 - of whatever generates
        model.generation_config.validate(strict=True)  # as it will be when the model is saved
    except CheckpointError as error:
        raise RecipeError(str(error)) from error
    except ValueError as error:
        said = " ".join(str(error).split())
        raise RecipeError(f"{name}: generation_config.json: {said}") from error
    if tokenizer.eos_token_id not in generation.end_ids:
        raise RecipeError(
            f"{name}: eos_token_id must hold the tokenizer's {tokenizer.eos_token!r},"
            f" {tokenizer.eos_token_id}, which ends what is learned;"
            f" got {listed(generation.end_ids)}"
        )
    if generation.decoder_start_id is not None:
        trained = getattr(model.config, "decoder_start_token_id", None)
        if trained != generation.decoder_start_id:
            raise RecipeError(
                f"{name}: decoder_start_token_id must be the same in config.json and"
                f" generation_config.json, got {trained} and {generation.decoder_start_id}"
            )


def refused_by_export(model: PreTrainedModel) -> str | None:
    """Why no ONNX program can be made of a model; None where one can."""
    try:
        check_onnx(model.config, window_of(model.config))
    except CheckpointError as error:
        return str(error)
    return None


def load_teacher(path: str, tokenizer: PreTrainedTokenizerFast) -> LocalTeacher:
    """The large model `p_L`, to run in this process.

    Raises:
        RecipeError: it cannot be loaded.
        TeacherError: its tokenizer is not the student's.
    """
    model = _network(path)
    check_tokenizers(tokenizer, _tokenizer(path), path)
    name, folder = located(path)
    return LocalTeacher(model, name=name, revision=revision_of(folder))


def open_checkpoint(path: str) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """A trained model and its tokenizer, ready to answer, on the GPU where there is one.

    Raises:
        RecipeError: either cannot be loaded, or the model would not answer greedily.
    """
    model, tokenizer = _network(path), _tokenizer(path)
    try:
        read_generation(model, located(path).folder)
    except CheckpointError as error:
        raise RecipeError(str(error)) from error
    if torch.cuda.is_available():
        cast(torch.nn.Module, model).cuda()
    return model, tokenizer


def fingerprint_of(tokenizer: PreTrainedTokenizerFast) -> str:
    """The tokenizer's fingerprint, as artifacts and the wire have it.

    Raises:
        RecipeError: it reads one text in several ways.
    """
    try:
        return tokenizer_fingerprint(tokenizer, f"tokenizer {tokenizer.name_or_path!r}")
    except CheckpointError as error:
        raise RecipeError(str(error)) from error


def revision_of(folder: Path) -> str:
    """The revision of a folder's weights, as artifacts and the wire have it.

    Raises:
        RecipeError: it has none that are loaded.
    """
    try:
        return weights_revision(folder)
    except (OSError, ValueError) as error:
        raise RecipeError(str(error)) from error


def located(path: str) -> Located:
    """The folder of a model, and its name.

    Raises:
        RecipeError: there is no such folder, or the hub has no such model.
    """
    try:
        return locate(path)
    except CheckpointError as error:
        raise RecipeError(str(error)) from error


def _tokenizer(path: str) -> PreTrainedTokenizerFast:
    folder = located(path).folder
    try:
        return load_tokenizer_of(folder)
    except CheckpointError as error:
        raise RecipeError(str(error)) from error


def _network(path: str, dtype: torch.dtype | Literal["auto"] = "auto") -> PreTrainedModel:
    folder = located(path).folder
    try:
        return load_network(folder, dtype=dtype)
    except CheckpointError as error:
        raise RecipeError(str(error)) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
