"""The prediction cache: what it holds, how it goes on after a cut, what it refuses."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from escalade.training.errors import CacheError
from escalade.training.examples import Collator, Example, target_counts
from escalade.training.losses.losses import IGNORE, Predictions
from escalade.training.teachers import cache_writer
from escalade.training.teachers.cache_writer import write_cache
from escalade.training.teachers.prediction_cache import CachedTeacher, read_key
from escalade.training.teachers.teacher import LocalTeacher, targets_of
from escalade.v1 import cascade_pb2 as pb

V = 50


@pytest.fixture(scope="module")
def teacher() -> LocalTeacher:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=V, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, initializer_range=0.8,
    )  # fmt: skip
    return LocalTeacher(LlamaForCausalLM(config), name="random", revision="r1")


@pytest.fixture
def examples() -> list[Example]:
    rng = np.random.default_rng(3)
    made = []
    for index in range(60):
        ids = rng.integers(V, size=rng.integers(3, 20)).tolist()
        prompt = int(rng.integers(1, len(ids)))
        labels = [IGNORE] * prompt + ids[prompt:]
        made.append(Example(input_ids=ids, labels=labels, example_index=index))
    return made


class CutOff(BaseException):
    """Stands for a kill."""


class Counting:
    """A teacher that counts what it is asked, and is cut off after so many batches."""

    def __init__(self, inner: LocalTeacher, batches: int | None = None) -> None:
        self._inner, self._left = inner, batches
        self.asked: list[int] = []

    @property
    def identity(self) -> pb.ModelIdentity:
        return self._inner.identity

    @property
    def vocabulary_size(self) -> int:
        return self._inner.vocabulary_size

    def predict(self, batch: Mapping[str, Tensor]) -> Predictions:
        if self._left == len(self.asked):
            raise CutOff
        self.asked += batch["example_index"].tolist()
        return self._inner.predict(batch)


def write(
    path: Path, teacher: LocalTeacher | Counting, examples: list[Example], **more: int
) -> None:
    write_cache(
        path, teacher, examples, tokenizer="t", pad_token_id=0,
        top_k=more.pop("top_k", 0), batch_size=more.pop("batch_size", 8),
    )  # fmt: skip


def batch_of(examples: list[Example], chosen: list[int]) -> dict[str, Tensor]:
    return Collator(0)([examples[i] for i in chosen])


@pytest.mark.parametrize("top_k", [0, 1, 5, V])
def test_a_cache_gives_back_what_the_teacher_said(
    top_k: int, teacher: LocalTeacher, examples: list[Example], tmp_path: Path
) -> None:
    write(tmp_path / "c", teacher, examples, top_k=top_k)
    cached = CachedTeacher(tmp_path / "c", examples, tokenizer="t")
    assert cached.identity == teacher.identity
    batch = batch_of(examples, [41, 0, 7, 7, 59])
    mask = targets_of(batch["labels"], seq2seq=False) != IGNORE
    said, kept = teacher.predict(batch), cached.predict(batch)
    assert torch.equal(kept.argmax[mask], said.argmax[mask])
    if not top_k:
        assert kept.top_ids is None
        return
    assert said.logits is not None
    assert kept.top_logprobs is not None
    values, ids = said.logits[mask].log_softmax(-1).topk(top_k)
    assert torch.equal(kept.top_ids[mask], ids)
    # float16 keeps 11 bits of a log-probability.
    torch.testing.assert_close(kept.top_logprobs[mask], values, rtol=2**-10, atol=2**-10)


def test_argmax_takes_2_bytes_a_token(
    teacher: LocalTeacher, examples: list[Example], tmp_path: Path
) -> None:
    write(tmp_path / "c", teacher, examples)
    tokens = sum(target_counts(examples))
    tensors = load_file(tmp_path / "c")
    assert {name: (t.dtype, t.shape) for name, t in tensors.items()} == {
        "argmax": (np.uint16, (tokens,))
    }
    assert read_key(tmp_path / "c").tokens == tokens


def test_writing_goes_on_after_a_cut_and_asks_nothing_twice(
    teacher: LocalTeacher, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_writer, "_WINDOW", 16)
    first = Counting(teacher, batches=32)  # two windows, in batches of 1
    with pytest.raises(CutOff):
        write(tmp_path / "c", first, examples, batch_size=1, top_k=2)
    assert not (tmp_path / "c").exists()
    second = Counting(teacher)
    write(tmp_path / "c", second, examples, batch_size=1, top_k=2)
    assert sorted(first.asked + second.asked) == list(range(60))
    write(tmp_path / "whole", teacher, examples, top_k=2)
    for name, tensor in load_file(tmp_path / "whole").items():
        assert np.array_equal(load_file(tmp_path / "c")[name], tensor), name
    assert not (tmp_path / "c.part").exists()


def test_the_beginning_of_another_cache_is_not_gone_on_with(
    teacher: LocalTeacher, examples: list[Example], tmp_path: Path
) -> None:
    with pytest.raises(CutOff):
        write(tmp_path / "c", Counting(teacher, batches=0), examples)
    with pytest.raises(CacheError, match=r"c\.part: the beginning of a cache for other data"):
        write(tmp_path / "c", teacher, examples[:-1])


def test_a_label_at_the_first_position_never_counts(
    teacher: LocalTeacher, examples: list[Example], tmp_path: Path
) -> None:
    """As in pre-training, where the labels are the tokens."""
    for example in examples:
        example["labels"] = list(example["input_ids"])
    write(tmp_path / "c", teacher, examples)
    cached = CachedTeacher(tmp_path / "c", examples, tokenizer="t")
    batch = batch_of(examples, [5, 2])
    mask = targets_of(batch["labels"], seq2seq=False) != IGNORE
    assert torch.equal(cached.predict(batch).argmax[mask], teacher.predict(batch).argmax[mask])


def test_two_processes_do_not_write_one_cache(
    teacher: LocalTeacher, examples: list[Example], tmp_path: Path
) -> None:
    (tmp_path / "c.part").mkdir()
    with (
        FileLock(tmp_path / "c.part" / "lock"),
        pytest.raises(CacheError, match="is being written by another process"),
    ):
        write(tmp_path / "c", teacher, examples)
    write(tmp_path / "c", teacher, examples)
    assert not (tmp_path / "c.part").exists()


def test_a_cache_for_other_data_is_refused(
    teacher: LocalTeacher, examples: list[Example], tmp_path: Path
) -> None:
    write(tmp_path / "c", teacher, examples)
    with pytest.raises(CacheError, match="its examples is 60, here it is 59"):
        CachedTeacher(tmp_path / "c", examples[:-1], tokenizer="t")
    with pytest.raises(CacheError, match="made for other tokens: its tokenizer is t, here it is u"):
        CachedTeacher(tmp_path / "c", examples, tokenizer="u")
    examples[3]["input_ids"][0] = (examples[3]["input_ids"][0] + 1) % V
    with pytest.raises(CacheError, match="made for other data: its data is [0-9a-f]{12}, here"):
        CachedTeacher(tmp_path / "c", examples, tokenizer="t")


def test_a_file_that_is_no_cache_is_refused(
    teacher: LocalTeacher, examples: list[Example], tmp_path: Path
) -> None:
    (tmp_path / "text").write_text("hello")
    save_file({"argmax": np.zeros(3, np.uint16)}, tmp_path / "bare")
    for name, message in (("text", "cannot be read"), ("bare", "not a prediction cache"),
                          ("none", "cannot be read")):  # fmt: skip
        with pytest.raises(CacheError, match=message):
            CachedTeacher(tmp_path / name, examples, tokenizer="t")


def test_no_damage_of_a_cache_is_read_as_something_else(
    teacher: LocalTeacher, examples: list[Example], tmp_path: Path
) -> None:
    path = tmp_path / "c"
    write(path, teacher, examples, top_k=2)
    whole = load_file(path)
    for content in damages(path.read_bytes()):
        path.write_bytes(content)
        refusal = refused(lambda: CachedTeacher(path, examples, tokenizer="t"))
        if refusal is not None:
            assert refusal.startswith(f"{path}: ")
            assert refusal.endswith("; delete it to have it written again")
            assert "\n" not in refusal
        else:  # a space of the header's is as good as another
            assert all(
                np.array_equal(values, whole[key]) for key, values in load_file(path).items()
            )


def test_a_cache_with_another_ones_array_is_refused_however_old(
    teacher: LocalTeacher, examples: list[Example], tmp_path: Path
) -> None:
    """An older version's has no digest to be held against."""
    write(tmp_path / "c", teacher, examples)
    with safe_open(tmp_path / "c", framework="np") as file:
        metadata = {name: text for name, text in file.metadata().items() if name != "sha256"}
    argmax = load_file(tmp_path / "c")["argmax"]
    save_file({"argmax": argmax}, tmp_path / "c", metadata=metadata)
    CachedTeacher(tmp_path / "c", examples, tokenizer="t")
    for tensors in (
        {},
        {"argmax": argmax[1:]},
        {"argmax": argmax.view(np.int16)},
        {"argmax": argmax, "more": argmax},
        {"argmax": np.full_like(argmax, V)},
    ):
        save_file(tensors, tmp_path / "c", metadata=metadata)
        with pytest.raises(CacheError, match="c: damaged: .*; delete it to have it written again"):
            CachedTeacher(tmp_path / "c", examples, tokenizer="t")


@pytest.mark.parametrize("name", ["progress.json", "argmax.npy", "top_logprobs.npy"])
def test_no_damage_of_the_beginning_of_a_cache_goes_into_it(
    name: str,
    teacher: LocalTeacher,
    examples: list[Example],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cache_writer, "_WINDOW", 16)
    write(tmp_path / "whole", teacher, examples, top_k=2)
    with pytest.raises(CutOff):
        write(tmp_path / "c", Counting(teacher, batches=32), examples, top_k=2)
    begun = tmp_path / "begun"
    (tmp_path / "c.part").rename(begun)
    for content in (None, *damages((begun / name).read_bytes())):
        shutil.copytree(begun, tmp_path / "c.part")
        if content is None:
            (tmp_path / "c.part" / name).unlink()
        else:
            (tmp_path / "c.part" / name).write_bytes(content)
        refusal = refused(lambda: write(tmp_path / "c", teacher, examples, top_k=2))
        if refusal is not None:
            assert refusal.startswith(f"{tmp_path / 'c.part'}")
            assert "to start again" in refusal
            assert "\n" not in refusal
            shutil.rmtree(tmp_path / "c.part")
        else:  # what was not said yet, or all of it is asked again
            for key, values in load_file(tmp_path / "whole").items():
                assert np.array_equal(load_file(tmp_path / "c")[key], values)
            (tmp_path / "c").unlink()


def refused(call: Callable[[], object]) -> str | None:
    """Why, in words; None where it is not."""
    try:
        call()
    except CacheError as error:
        return str(error)
    return None


def damages(content: bytes, every: int = 29) -> Iterator[bytes]:
    """Of a file: empty, cut, another's, and with a bit of one byte another."""
    yield b""
    yield from (content[: len(content) * part // 4] for part in range(1, 4))
    yield content[:-1]
    yield b'{"a": 1}'
    yield b"\x93NUMPY\xff"
    for place in range(0, len(content), every):
        for bit in (0x01, 0x80):
            yield content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]


def test_examples_numbered_otherwise_are_refused(
    teacher: LocalTeacher, examples: list[Example], tmp_path: Path
) -> None:
    write(tmp_path / "c", teacher, examples)
    cached = CachedTeacher(tmp_path / "c", examples, tokenizer="t")
    batch = batch_of(examples, [1, 2])
    with pytest.raises(CacheError, match="needs the column example_index"):
        cached.predict({name: batch[name] for name in batch if name != "example_index"})
    with pytest.raises(CacheError, match=r"example_index must be in \[0, 59\], got 1 to 60"):
        cached.predict({**batch, "example_index": torch.tensor([1, 60])})
    shorter = min(range(60), key=lambda i: target_counts(examples)[i])
    with pytest.raises(CacheError, match="does not number the examples"):
        cached.predict({**batch, "example_index": torch.tensor([shorter, shorter])})
