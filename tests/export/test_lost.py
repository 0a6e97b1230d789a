"""What a program lost of its model, held against sums written down plainly."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import get_args

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM

from escalade.edge.artifact import read_manifest
from escalade.edge.generation import Artifact
from escalade.export.artifact.artifact import export_artifact
from escalade.export.errors import OptionError
from escalade.export.held.lost import Lost, Text, compare, measure_lost, program_reader
from escalade.export.settings import Layout

PROMPTS = ("g2p: cascade", "p2g: K AE T")


def test_a_program_in_float32_lost_nothing(float_artifact: Path, tiny_model_dir: Path) -> None:
    lost = measure_lost(float_artifact, tiny_model_dir)
    assert lost is not None
    assert lost.texts > 8  # answers, where a tokenizer closes prompts
    assert lost.same_argmax == 1.0
    assert 0 <= lost.mean_kl < lost.worst_kl < 1e-6
    assert lost.perplexity_ratio == pytest.approx(1, abs=1e-5)
    assert lost == measure_lost(float_artifact, tiny_model_dir)


def test_answers_to_records_are_looked_at_and_not_the_prompts(
    int8_artifact: Path, tiny_model_dir: Path
) -> None:
    lost = measure_lost(int8_artifact, tiny_model_dir, PROMPTS)
    assert lost is not None
    assert (lost.source, lost.texts) == ("records", 2)
    assert 2 <= lost.tokens <= 2 * 64
    assert 1e-7 < lost.mean_kl < 0.1
    with pytest.raises(OptionError, match="--held-out: no prompt has 1 to"):
        measure_lost(int8_artifact, tiny_model_dir, ["g2p: " + "a" * 5000])


def test_the_reader_gives_at_each_place_what_the_device_sees_there(int8_artifact: Path) -> None:
    artifact = Artifact.open(int8_artifact)
    ids = artifact.encode("g2p: cascade")
    steps = artifact.generate(ids, 4)
    read = program_reader(int8_artifact, read_manifest(int8_artifact))
    logits = read(Text([*ids, *(step.token_id for step in steps)], len(ids)))
    for place, step in enumerate(steps):
        exact = torch.from_numpy(logits[place]).double().log_softmax(-1)
        assert int(exact.argmax()) == step.token_id
        assert float(exact.max()) == pytest.approx(step.logprob, abs=1e-4)


def test_a_program_of_another_librarys_layout_loses_as_much(
    int8_artifact: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    plain = measure_lost(int8_artifact, tiny_model_dir, PROMPTS)
    assert plain is not None
    for layout in get_args(Layout):
        out = tmp_path / layout
        export_artifact(tiny_model_dir, out, quantize="int8", layout=layout)
        lost = measure_lost(out, tiny_model_dir, PROMPTS)
        assert lost is not None, layout
        assert (lost.texts, lost.tokens) == (plain.texts, plain.tokens)
        # One token at a time, by another kernel.
        assert lost.mean_kl == pytest.approx(plain.mean_kl, rel=0.2), layout


def test_the_figures_are_what_their_names_say(tiny_model_dir: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir).eval()
    texts = [Text([5, 6, 7, 8], 1), Text([9, 10, 11], 2)]
    shift = np.linspace(0, 1.5, model.config.vocab_size, dtype=np.float32)

    def logits(ids: list[int]) -> NDArray[np.float32]:
        with torch.inference_mode():
            found: NDArray[np.float32] = model(torch.tensor([ids])).logits[0].numpy()
        return found

    def shifted(text: Text) -> NDArray[np.float32]:
        return logits(text.ids)[text.first - 1 : -1] + shift

    lost = compare(model, shifted, texts, "records")
    kls, same, drifts = [], [], []
    for ids, first in texts:
        exact = torch.from_numpy(logits(ids)).double().softmax(-1).numpy()
        found = torch.from_numpy(logits(ids) + shift).double().softmax(-1).numpy()
        places = range(first - 1, len(ids) - 1)
        kls += [float((exact[at] * np.log(exact[at] / found[at])).sum()) for at in places]
        same += [exact[at].argmax() == found[at].argmax() for at in places]
        drifts.append(
            [float(np.log(exact[at, ids[at + 1]] / found[at, ids[at + 1]])) for at in places]
        )
    assert lost.tokens == len(kls) == 4
    assert lost.mean_kl == pytest.approx(np.mean(kls), rel=1e-4)
    assert lost.worst_kl == pytest.approx(max(kls), rel=1e-4)
    assert lost.p99_kl == pytest.approx(np.quantile(kls, 0.99), rel=1e-4)
    assert lost.same_argmax == np.mean(same)
    assert lost.perplexity_ratio == pytest.approx(np.exp(np.mean(np.concatenate(drifts))), rel=1e-4)
    means = [np.mean(drift) for drift in drifts]
    assert lost.mean_score_drift == pytest.approx(np.mean(means), abs=1e-5)
    assert lost.worst_score_drift == pytest.approx(np.abs(means).max(), abs=1e-5)


def test_what_is_worse_than_a_float_holds_is_said_in_a_line(tiny_model_dir: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir).eval()
    wrong = np.zeros((3, model.config.vocab_size), np.float32)
    wrong[:, 9] = 1e5  # as four bits of a head with an outlier do
    lost = compare(model, lambda _: wrong, [Text([5, 6, 7, 8], 1)], "records")
    assert lost.mean_kl > 1e4
    assert lost.perplexity_ratio == pytest.approx(sys.float_info.max, rel=1e-9)
    assert msgspec.json.decode(msgspec.json.encode(lost), type=Lost) == lost
    assert " perplexity 1.8e+308 x;" in lost.in_words
