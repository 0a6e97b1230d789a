"""How `escalade export` rounds, and says what that lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Invoke = Callable[..., tuple[int, str, str]]


def test_four_bits_are_rounded_by_text_of_the_model_unless_told_not_to(
    invoke: Invoke, tiny_model_dir: Path, tmp_path: Path
) -> None:
    told = {}
    for name, how in (("own", ()), ("again", ()), ("nearest", ("--gptq", "none"))):
        code, out, err = invoke(
            "export", tiny_model_dir, tmp_path / name, "--quantize", "int4", "--json", *how
        )
        assert code == 0, err
        told[name] = json.loads(out)
        assert told[name]["lost"]["tokens"] > 100
    assert told["own"]["files"] == told["again"]["files"]
    assert told["own"]["files"] != told["nearest"]["files"]
    assert told["own"]["lost"]["mean_kl"] < told["nearest"]["lost"]["mean_kl"]


def test_what_was_lost_is_said_on_answers_to_records_or_not_at_all(
    invoke: Invoke, tiny_model_dir: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text('{"id": "1", "task": "g2p", "prompt": "g2p: a", "references": ["AH"]}\n')
    export = ("export", tiny_model_dir, tmp_path / "a", "--quantize", "int8")
    code, out, err = invoke(*export, "--held-out", data)
    assert code == 0, err
    assert "tokens of records: KL mean" in out
    code, out, err = invoke(*export, "--held-out", "none")
    assert code == 0, err
    assert "lost on" not in out


@pytest.mark.parametrize("option", ["--gptq", "--held-out"])
def test_empty_data_is_one_line(
    option: str, invoke: Invoke, tiny_model_dir: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text("")
    code, out, err = invoke(
        "export", tiny_model_dir, tmp_path / "a", "--quantize", "int4", option, data
    )
    assert (code, out) == (2, "")
    assert "no records" in err.splitlines()[-1]
    assert not (tmp_path / "a").exists()
