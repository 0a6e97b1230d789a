"""How a folder's answers begin and end: as transformers reads it, or refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from checkpoint.conftest import Made, change

from escalade.checkpoint import CheckpointError, Generation, load_network, read_generation


def read(folder: Path) -> Generation:
    return read_generation(load_network(folder, dtype=torch.float32), folder)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, Generation((2,), None, None)),
        ({"eos_token_id": [2, 7, 9]}, Generation((2, 7, 9), None, None)),
        (
            {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "top_k": 20, "max_new_tokens": 9},
            Generation((2,), None, 9),
        ),
        ({"num_beams": 1, "length_penalty": 2.0}, Generation((2,), None, None)),
        ({"repetition_penalty": 1.0, "no_repeat_ngram_size": 0}, Generation((2,), None, None)),
        ({"suppress_tokens": [], "guidance_scale": None}, Generation((2,), None, None)),
        ({"cache_implementation": "static", "output_scores": True}, Generation((2,), None, None)),
    ],
)  # fmt: skip
def test_what_leaves_the_greedy_token_alone_is_taken(
    settings: dict[str, object], expected: Generation, made: Made
) -> None:
    folder = made()
    change(folder / "generation_config.json", **settings)
    assert read(folder) == expected


@pytest.mark.parametrize("source", ["generation_config.json", "config.json"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("repetition_penalty", 1.1),
        ("no_repeat_ngram_size", 3),
        ("encoder_repetition_penalty", 1.5),
        ("encoder_no_repeat_ngram_size", 2),
        ("bad_words_ids", [[5], [6, 7]]),
        ("suppress_tokens", [5]),
        ("begin_suppress_tokens", [2]),
        ("forced_bos_token_id", 5),
        ("num_beams", 4),
        ("min_length", 5),
        ("exponential_decay_length_penalty", [5, 1.1]),
        ("remove_invalid_values", True),
    ],
)
def test_what_would_choose_another_token_is_refused_by_name(
    source: str, name: str, value: object, made: Made
) -> None:
    folder = made()
    if source == "config.json":
        (folder / "generation_config.json").unlink()
    change(folder / source, **{name: value})
    with pytest.raises(CheckpointError, match=f"{source}: not taken: {name} ") as refused:
        read(folder)
    assert str(value) in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_new_tokens", 3),
        ("guidance_scale", 1.5),
        ("penalty_alpha", 0.6),
        ("dola_layers", "high"),
        ("prompt_lookup_num_tokens", 3),
        ("sequence_bias", [[[5], 2.0]]),
        ("stop_strings", ["x"]),
        ("token_healing", True),
        ("watermarking_config", {"greenlist_ratio": 0.25}),
        ("cache_implementation", "quantized"),
        ("max_time", 0.1),
        ("a_setting_of_tomorrow", 1),
    ],
)
def test_what_is_not_known_to_be_harmless_is_refused(name: str, value: object, made: Made) -> None:
    folder = made()
    change(folder / "generation_config.json", **{name: value})
    with pytest.raises(CheckpointError, match=f"not taken: {name} "):
        read(folder)


@pytest.mark.parametrize("value", [-1, 40, 2.0, True, "2", [2, 41], [[2]], None, [], ...])
def test_end_tokens_that_are_none_are_refused(value: object, made: Made) -> None:
    folder = made()
    change(folder / "generation_config.json", eos_token_id=value)
    with pytest.raises(CheckpointError, match=r"generation_config.json: .*eos_token_id"):
        read(folder)


@pytest.mark.parametrize("name", ["bos_token_id", "pad_token_id", "max_new_tokens"])
@pytest.mark.parametrize("value", [3.0, True])
def test_numbers_that_are_none_are_refused(name: str, value: object, made: Made) -> None:
    folder = made()
    change(folder / "generation_config.json", **{name: value})
    with pytest.raises(CheckpointError, match=f"{name} must be a whole number, got"):
        read(folder)


def test_an_id_that_is_a_float_in_the_config_is_one_line(made: Made) -> None:
    folder = made()
    change(folder / "config.json", eos_token_id=2.0)
    with pytest.raises(CheckpointError, match="eos_token_id.*2.0") as refused:
        read(folder)
    assert "\n" not in str(refused.value)


def test_a_decoder_begins_as_in_transformers(made: Made) -> None:
    folder = made("bart")
    settings = folder / "generation_config.json"
    assert read(folder).decoder_start_id == 2
    change(settings, decoder_start_token_id=7)
    assert read(folder).decoder_start_id == 7
    change(settings, decoder_start_token_id=...)
    assert read(folder).decoder_start_id == 1  # bos_token_id
    change(settings, bos_token_id=...)
    with pytest.raises(CheckpointError, match="names no decoder_start_token_id"):
        read(folder)
    change(settings, decoder_start_token_id=40)
    with pytest.raises(CheckpointError, match=r"decoder_start_token_id .*\[0, 39\], got 40"):
        read(folder)


@pytest.mark.parametrize("content", ["{", "[]", '"x"', "\xff"])
def test_settings_that_cannot_be_read_are_not_passed_over(content: str, made: Made) -> None:
    folder = made()
    (folder / "generation_config.json").write_text(content, "latin-1")
    with pytest.raises(CheckpointError, match="generation_config.json"):
        read(folder)


def test_the_settings_of_a_model_made_here_are_its_own(made: Made) -> None:
    network = load_network(made(), dtype=torch.float32)
    network.generation_config.num_beams = 3
    with pytest.raises(CheckpointError, match="the model: not taken: num_beams 3"):
        read_generation(network)


def test_each_name_in_one_line(made: Made) -> None:
    folder = made()
    path = folder / "generation_config.json"
    path.write_text(json.dumps({"eos_token_id": 2, "num_beams": 4, "no_repeat_ngram_size": 3}))
    with pytest.raises(CheckpointError, match="not taken: no_repeat_ngram_size 3, num_beams 4; "):
        read(folder)
