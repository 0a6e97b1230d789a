"""The encoder level: it learns, what is frozen stays, the same again from a state."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from classifiers import encoder_folder
from made_streams import LABELS, rows
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
)

from escalade.training.errors import RecipeError
from escalade.training.online.encoders import EncoderLevel, EncoderSettings
from escalade.training.online.levels import Example

_SPECIAL = ["<pad>", "<unk>", "<s>", "</s>"]
_TOKENS = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), _SPECIAL, strict=True))
_UNKNOWN = {"unk_token": "<unk>"}
_SMALL: dict[str, Any] = {"vocab_size": 80, "pad_token_id": 0, "max_position_embeddings": 48}
_BERT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
}
_FAMILIES = {
    "bert": lambda: BertModel(BertConfig(**_SMALL, **_BERT)),
    "roberta": lambda: RobertaModel(RobertaConfig(**_SMALL, **_BERT)),
    "distilbert": lambda: DistilBertModel(
        DistilBertConfig(**_SMALL, dim=32, n_layers=2, n_heads=2, hidden_dim=48)
    ),
}


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    words = sorted({word for row in rows(2000) for word in str(row["text"]).split()})
    vocabulary = {word: k for k, word in enumerate([*_SPECIAL, *words])}
    inner = Tokenizer(models.WordLevel(vocabulary, **_UNKNOWN))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, **_TOKENS)
    folders = {}
    for name, make in _FAMILIES.items():
        torch.manual_seed(1)
        folders[name] = tmp_path_factory.mktemp("encoders") / name
        make().save_pretrained(folders[name])
        tokenizer.save_pretrained(folders[name])
    return folders


def _level(folder: Path, **changed: Any) -> EncoderLevel:
    settings = EncoderSettings(
        folder,
        max_tokens=16,
        frozen_layers=0,
        learning_rate=3e-3,
        head_rate=3e-3,
        batch_size=8,
        epochs=3,
        replay=16,
        memory=60,
    )
    return EncoderLevel(LABELS, settings._replace(**changed), seed=3)


def _teach(level: EncoderLevel, count: int, *, seed: int = 1) -> None:
    examples = [Example(str(row["text"]), int(str(row["gold"]))) for row in rows(count, seed=seed)]
    for at in range(0, count, 16):
        level.learn(examples[at : at + 16])


@pytest.mark.parametrize("family", _FAMILIES)
def test_it_learns_and_is_then_what_transformers_loads(
    encoders: dict[str, Path], tmp_path: Path, family: str
) -> None:
    level = _level(encoders[family], frozen_layers=1)
    _teach(level, 160)
    held_out = rows(100, seed=5)
    said = [level.predict(str(row["text"])).logprobs for row in held_out]
    pairs = zip(said, held_out, strict=True)
    assert sum(int(one.argmax()) == row["gold"] for one, row in pairs) > 50  # by chance 33
    level.save(tmp_path / "saved")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert model.config.id2label == dict(enumerate(LABELS))
    assert tokenizer.model_max_length == level._settings.max_tokens
    for one, row in zip(said, held_out[:10], strict=False):
        with torch.inference_mode():
            logits = model(**tokenizer(row["text"], return_tensors="pt")).logits[0]
        np.testing.assert_allclose(one, logits.log_softmax(0).numpy(), atol=1e-5)


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_what_is_frozen_stays_and_the_rest_moves(encoders: dict[str, Path], frozen: int) -> None:
    level = _level(encoders["bert"], frozen_layers=frozen)
    before = {n: p.detach().clone() for n, p in level._model.named_parameters()}
    _teach(level, 32)
    moved = {n for n, p in level._model.named_parameters() if not torch.equal(p, before[n])}
    assert not any("embeddings" in name for name in moved)
    layers = {int(name.split("layer.")[1][0]) for name in moved if "layer." in name}
    assert layers == set(range(frozen, 2))
    assert any(name.startswith("classifier") for name in moved)


def _sentences(folder: Path) -> Path:
    """The folder as a sentence encoder's: without classes, and with a module after its mean."""
    encoder = SentenceTransformer(modules=[Transformer(str(folder)), Pooling(32), Normalize()])
    encoder.save_pretrained(str(folder.parent / "sentences"))
    return folder.parent / "sentences"


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_a_sentence_encoder_is_read_by_the_mean_of_its_tokens(
    encoders: dict[str, Path], tmp_path: Path, frozen: int
) -> None:
    level = _level(_sentences(encoders["bert"]), frozen_layers=frozen)
    _teach(level, 48)
    level.save(tmp_path / "saved")
    theirs = SentenceTransformer(str(tmp_path / "saved"))
    for row in rows(20, seed=5):
        text = str(row["text"])
        wanted = theirs.encode(text, convert_to_tensor=True).double().log_softmax(0)
        np.testing.assert_allclose(level.predict(text).logprobs, wanted, atol=1e-5)
    again = _level(_sentences(encoders["bert"]), frozen_layers=frozen)
    again.restore(level.state())
    for one in (level, again):
        _teach(one, 32, seed=4)
    np.testing.assert_array_equal(level.predict("it").logprobs, again.predict("it").logprobs)


def test_levels_of_a_process_share_what_frozen_layers_say(encoders: dict[str, Path]) -> None:
    first, second = (_level(encoders["bert"], frozen_layers=2) for _ in range(2))
    text = str(rows(1)[0]["text"])
    spent = first.predict(text)
    with torch.no_grad():
        second._split.base.embeddings.word_embeddings.weight.zero_()  # its own would say otherwise
    assert second.predict(text).flops == spent.flops
    np.testing.assert_array_equal(second.predict(text).logprobs, spent.logprobs)
    # Of the same weights, but another pooling: of all tokens, or their mean alone.
    assert _level(_sentences(encoders["bert"]), frozen_layers=2).predict(text).flops != spent.flops


@pytest.mark.parametrize("taught", [0, 48])
def test_it_goes_on_from_its_state_bit_for_bit(encoders: dict[str, Path], taught: int) -> None:
    level, again = (_level(encoders["bert"], frozen_layers=1) for _ in range(2))
    _teach(level, taught)
    again.restore({name: array.copy() for name, array in level.state().items()})
    for one in (level, again):
        _teach(one, 48, seed=4)
    assert level.state().keys() == again.state().keys()
    for name, array in level.state().items():
        np.testing.assert_array_equal(again.state()[name], array)


@pytest.mark.parametrize("most", [0, 20])
def test_so_many_examples_are_kept_to_learn_from_again(
    encoders: dict[str, Path], most: int
) -> None:
    level = _level(encoders["bert"], frozen_layers=2, memory=most)
    _teach(level, 48)
    assert len(level.state()["memory.labels"]) == most


def test_what_a_run_costs_is_what_its_layers_cost(encoders: dict[str, Path]) -> None:
    whole, upper = (_level(encoders["bert"], frozen_layers=k) for k in (0, 1))
    text = str(rows(1)[0]["text"])
    first = upper.predict(text).flops
    assert first == whole.predict(text).flops
    # What does not learn is there from the first time.
    assert upper.predict(text).flops < first


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"frozen_layers": 3}, r"frozen_layers must be in 0\.\.2, got 3"),
        ({"max_tokens": 49}, r"max_tokens must be in 8\.\.48, got 49"),
        ({"path": Path("nowhere")}, "nowhere: not a model folder: config.json is missing"),
    ],
)
def test_settings_that_the_encoder_has_no_room_for_are_refused(
    encoders: dict[str, Path], changed: dict[str, Any], says: str
) -> None:
    with pytest.raises(RecipeError, match=says):
        _level(encoders["bert"], **changed)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(encoders: dict[str, Path]) -> None:
    with pytest.raises(RecipeError, match="device must be cpu, for torch finds no GPU; got cuda"):
        _level(encoders["bert"], device="cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_on_a_gpu_it_learns_what_it_learns_here(
    encoders: dict[str, Path], tmp_path: Path, frozen: int
) -> None:
    folder = shutil.copytree(encoders["bert"], tmp_path / "bert")
    # Without dropout, whose numbers a GPU draws otherwise.
    _edit(folder / "config.json", hidden_dropout_prob=0, attention_probs_dropout_prob=0)
    here, there = (_level(folder, frozen_layers=frozen, device=one) for one in ("cpu", "cuda"))
    for level in (here, there):
        _teach(level, 64)
    again = _level(folder, frozen_layers=frozen, device="cuda")
    again.restore(there.state())
    for row in rows(20, seed=5):
        text = str(row["text"])
        wanted = there.predict(text).logprobs
        np.testing.assert_allclose(here.predict(text).logprobs, wanted, atol=1e-2)
        np.testing.assert_array_equal(again.predict(text).logprobs, wanted)


def _edit(path: Path, **settings: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def _pickled(folder: Path) -> None:
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def _weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: (f / "tokenizer.json").unlink(), "tokenizer"),
        (lambda f: (f / "tokenizer.json").write_text("{"), "not a tokenizer.json: "),
        (_pickled, r"no \*\.safetensors; other weight formats are not loaded"),
        (lambda f: (f / "model.safetensors").write_bytes(b"cut off"), "cannot be loaded: "),
        (
            lambda f: _weights(f, lambda w: w.pop("encoder.layer.1.output.dense.weight")),
            "weights missing: .*encoder.layer.1.output.dense.weight",
        ),
        (
            lambda f: _weights(f, lambda w: w["encoder.layer.1.output.dense.bias"].fill_(np.nan)),
            "must be finite",
        ),
        (lambda f: _edit(f / "config.json", num_hidden_layers=1), "has no place for: .*layer.1"),
        (lambda f: _edit(f / "config.json", vocab_size=40), "weights of another shape: "),
        (lambda f: _edit(f / "config.json", is_decoder=True), "is_decoder must be False"),
    ],
)
def test_a_folder_that_is_no_whole_encoder_is_named_in_one_line(
    encoders: dict[str, Path], tmp_path: Path, change: Callable[[Path], object], says: str
) -> None:
    folder = Path(shutil.copytree(encoders["bert"], tmp_path / "broken"))
    change(folder)
    with pytest.raises(RecipeError, match=f"encoder {folder}.*{says}") as error:
        _level(folder)
    assert "\n" not in str(error.value)


def test_a_state_of_other_weights_is_refused(encoders: dict[str, Path]) -> None:
    state = _level(encoders["bert"]).state()
    with pytest.raises(RecipeError, match="the run was begun with weights [0-9a-f]{12}, these are"):
        _level(encoders["roberta"]).restore(state)


def test_another_family_is_refused_by_name(tiny_model_dir: Path) -> None:
    with pytest.raises(
        RecipeError, match="must be one of bert, distilbert, roberta .* got 'llama'"
    ):
        _level(tiny_model_dir)


@pytest.mark.parametrize("names", [["a", "b", "c"], ["a", "b"], LABELS])
def test_a_head_stays_where_it_is_of_these_labels(tmp_path: Path, names: list[str]) -> None:
    folder = encoder_folder(tmp_path / "headed", id2label=dict(enumerate(names)))
    theirs = AutoModelForSequenceClassification.from_pretrained(folder).state_dict()
    ours = _level(folder)._model.state_dict()
    same = {name for name in theirs if torch.equal(theirs[name], ours[name])}
    assert ("classifier.weight" in same) == (names == LABELS)
    assert {name for name in theirs if not name.startswith("classifier.")} <= same


def test_a_language_models_head_is_left_behind(tmp_path: Path) -> None:
    folder = encoder_folder(tmp_path / "masked")
    body = AutoModel.from_pretrained(folder, add_pooling_layer=False)
    AutoModelForMaskedLM.from_pretrained(folder).save_pretrained(folder)
    ours = _level(folder)._model.base_model.state_dict()
    for name, values in body.state_dict().items():
        assert torch.equal(ours[name], values)


@pytest.mark.parametrize("text", ["red " * 100_000, "?!", "\0", " ", "\u200b", "[PAD] </s>"])
def test_any_text_has_an_answer(encoders: dict[str, Path], text: str) -> None:
    level = _level(encoders["bert"])
    level.learn([Example(text, 0), Example("sky", 2)])
    logprobs = level.predict(text).logprobs
    assert np.exp(logprobs).sum() == pytest.approx(1.0)
