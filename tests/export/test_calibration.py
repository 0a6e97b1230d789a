"""What text a model's weights are rounded by where nobody gives any."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from torch import Tensor

from escalade.edge.artifact import TOKENIZER_NAME
from escalade.export.errors import OptionError
from escalade.export.kept import Kept
from escalade.export.model import load_model
from escalade.export.text import AS_KEPT, RoundingText
from escalade.export.text.calibration import calibrate
from escalade.export.text.prompts import prompts_to_answer

_SEPARATOR, _END = 1, 2
_WINDOW = 48
TEN = [f"g2p: {letter}ard" for letter in "bcdefghijl"]


def _texts(model_dir: Path, tmp_path: Path) -> list[list[int]]:
    kept = Kept(tmp_path / "out")
    said, answers = calibrate(
        load_model(model_dir), model_dir, "int4", AS_KEPT, _WINDOW, lambda line: None,
        end_ids=[_END], kept=kept, hangs_on={},
    )  # fmt: skip
    assert said == " on text that it wrote"
    assert not answers  # of its own text nothing is tuned by

    def again() -> Mapping[str, Tensor]:
        pytest.fail("its text was not kept")

    step = kept.once("texts", again)
    return [ids.tolist() for ids in step["ids"].split(step["lengths"].tolist())]


def test_a_model_whose_tokenizer_closes_prompts_answers_them(
    tiny_model_dir: Path, tmp_path: Path
) -> None:
    texts = _texts(tiny_model_dir, tmp_path)
    assert sum(map(len, texts)) >= 4096
    assert all(_SEPARATOR in text and _END not in text[:-1] for text in texts)


def test_another_draws_texts_as_long_as_its_window(tiny_model_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_dir, folder)
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_NAME))
    tokenizer.post_processor = None
    tokenizer.save(str(folder / TOKENIZER_NAME))
    texts = _texts(folder, tmp_path)
    assert [len(text) for text in texts] == [_WINDOW] * 16


def test_text_in_another_script_is_one_line(tiny_model_dir: Path) -> None:
    tokenizer = Tokenizer.from_file(str(tiny_model_dir / TOKENIZER_NAME))
    greeting = "\u4f60\u597d"
    with pytest.raises(OptionError, match=r"^--gptq: .* of these prompts 1 of 3 tokens; is it in"):
        prompts_to_answer("--gptq", tokenizer, [greeting], 24)
    read = prompts_to_answer("--gptq", tokenizer, [greeting, "g2p: cascade"], 24)
    assert [len(ids) for ids in read] == [3, 9]


def _read_prompts(model_dir: Path, tmp_path: Path, prompts: list[str]) -> list[str]:
    """The lines that were said."""
    lines: list[str] = []
    calibrate(
        load_model(model_dir), model_dir, "int4", RoundingText(prompts), _WINDOW, lines.append,
        end_ids=[_END], kept=Kept(tmp_path / "out"), hangs_on={}, tuned=False,
    )  # fmt: skip
    return lines


def test_prompts_that_are_few_are_said_to_be(tiny_model_dir: Path, tmp_path: Path) -> None:
    said = "only 10 prompts: weights may lose more by fewer than 64"
    assert any(line.startswith(said) for line in _read_prompts(tiny_model_dir, tmp_path, TEN))
    lines = _read_prompts(tiny_model_dir, tmp_path, TEN * 7)
    assert not any(line.startswith("only") for line in lines)


def test_prompts_of_too_few_tokens_are_one_line(tiny_model_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"^--gptq: text .* at least 32 tokens, got \d+$"):
        _read_prompts(tiny_model_dir, tmp_path, TEN[:1])
