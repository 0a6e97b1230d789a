"""The scorer against a real server: its scores, its refusals, another model on the port."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from escalade.cloud.backends.embedded.backend import EmbeddedBackend
from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine
from escalade.cloud.server import ServeOptions, serve
from escalade.training.errors import TeacherError
from escalade.training.teachers.cloud_scorer import CloudScorer
from escalade.v1.identity import tokenizer_fingerprint

ITEMS = [([4, 5 + n % 30, 1], [6 + n % 50, 7, 8][: 1 + n % 3]) for n in range(40)]


@contextmanager
def served(folder: Path, listen: str = "127.0.0.1:0") -> Iterator[str]:
    """A real server in a thread of its own."""
    engine = TransformersEngine.load(str(folder), threads=1)
    ready: futures.Future[tuple[str, Callable[[], None]]] = futures.Future()

    async def main() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        end = lambda: loop.call_soon_threadsafe(stop.set)  # noqa: E731
        await serve(
            partial(EmbeddedBackend, lambda: engine),
            ServeOptions(listen=listen, grace_s=0),
            stop=stop,
            on_ready=lambda address: ready.set_result((address, end)),
        )

    with futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(asyncio.run, main())
        futures.wait([ready, running], 60, futures.FIRST_COMPLETED)
        if running.done():
            running.result()
        address, end = ready.result()
        try:
            yield address
        finally:
            end()
        running.result(60)


@pytest.fixture(scope="module")
def address(tiny_model_dir: Path) -> Iterator[str]:
    with served(tiny_model_dir) as address:
        yield address


@pytest.fixture(scope="module")
def fingerprint(tiny_model_dir: Path) -> str:
    return tokenizer_fingerprint(tiny_model_dir / "tokenizer.json")


@pytest.fixture
def scorer() -> Iterator[Callable[..., CloudScorer]]:
    """Makes scorers that are closed at the end."""
    made: list[CloudScorer] = []

    def make(address: str, fingerprint: str, **options: Any) -> CloudScorer:
        made.append(CloudScorer(address, tokenizer_fingerprint=fingerprint, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("top_k", [0, 3, 84])
@pytest.mark.parametrize("items_per_request", [7, 256])
def test_scores_equal_a_direct_forward(
    scorer: Any,
    address: str,
    fingerprint: str,
    tiny_model_dir: Path,
    top_k: int,
    items_per_request: int,
) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir).eval()
    asked = scorer(address, fingerprint, items_per_request=items_per_request)
    scores = list(asked.score(ITEMS, top_k=top_k))
    assert len(scores) == len(ITEMS)
    for (prompt, response), found in zip(ITEMS, scores, strict=True):
        with torch.inference_mode():
            logits = model(torch.tensor([[*prompt, *response]])).logits[0]
        expected = logits.log_softmax(-1)[len(prompt) - 1 : -1]
        own = expected.gather(1, torch.tensor(response)[:, None])[:, 0]
        assert found.argmax.tolist() == expected.argmax(-1).tolist()
        assert found.response_logprobs == pytest.approx(own.numpy(), abs=1e-4)
        assert found.top_ids.shape == found.top_logprobs.shape == (len(response), top_k)
        best = expected.topk(top_k).values.numpy()
        assert found.top_logprobs == pytest.approx(best, abs=1e-4)
        assert [array.dtype for array in found] == ["int32", "float32", "int32", "float32"]
        assert all(array.flags.writeable for array in found), "torch would warn"


def test_who_answers(scorer: Any, address: str, fingerprint: str, tiny_model_dir: Path) -> None:
    info = scorer(address, fingerprint).info()
    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    assert info.model.name == tiny_model_dir.name
    assert info.model.tokenizer_fingerprint == fingerprint
    assert info.parameter_count == model.num_parameters()
    assert info.vocabulary_size == info.max_top_k == model.config.vocab_size
    assert len(info.model.revision) == 64


def test_another_tokenizer_is_named(scorer: Any, address: str) -> None:
    with pytest.raises(TeacherError, match=r"its tokenizer is not the student's: .*'000000000000'"):
        scorer(address, "0" * 64).info()


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (([4], []), r"response\.ids: must hold at least 1 token"),
        (([], [4]), r"prompt\.ids: must hold at least 1 token"),
        (([4], [84]), r"response\.ids\[0\]: must be in 0\.\.83, got 84"),
        (([4], [5] * 48), "PROMPT_TOO_LONG"),
        (([4], [-1]), r"item 9: token ids must be in 0\.\.2\*\*32-1"),
    ],
)
def test_a_refused_item_can_be_found(
    scorer: Any, address: str, fingerprint: str, item: Any, said: str
) -> None:
    items = [*ITEMS[:9], item]
    asked = scorer(address, fingerprint, items_per_request=4).score(items, top_k=0)
    scores = [next(asked) for _ in range(8)]
    assert len(scores) == 8
    with pytest.raises(TeacherError, match=said) as caught:
        next(asked)
    if "item 9" not in said:
        assert "items[1]" in str(caught.value)
        assert "(its items[0] is number 8 here)" in str(caught.value)


@pytest.mark.parametrize("top_k", [-1, 85])
def test_top_k_out_of_range(scorer: Any, address: str, fingerprint: str, top_k: int) -> None:
    with pytest.raises(TeacherError, match=rf"top_k must be in 0\.\.84, got {top_k}"):
        next(scorer(address, fingerprint).score(ITEMS, top_k=top_k))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"items_per_request": 0}, "items_per_request must be at least 1, got 0"),
        ({"deadline_s": 0.0}, "deadline must be > 0"),
        ({"ca_cert": Path("/none.pem"), "plaintext": False}, "/none.pem: cannot be read"),
    ],
)
def test_options_out_of_range(scorer: Any, options: Any, said: str) -> None:
    with pytest.raises(TeacherError, match=said):
        scorer("127.0.0.1:1", "0" * 64, **options)


def test_another_model_on_the_same_port(
    scorer: Any, fingerprint: str, tiny_model_dir: Path, other_model_dir: Path
) -> None:
    with served(tiny_model_dir) as address:
        asked = scorer(address, fingerprint, items_per_request=5)
        stream = asked.score(ITEMS, top_k=0)
        for _ in range(5):
            next(stream)
    with served(other_model_dir, address):
        with pytest.raises(TeacherError, match="another model answers now: MODEL_MISMATCH"):
            list(stream)
        with pytest.raises(TeacherError, match="another model answers now: revision"):
            asked.info()


def test_nobody_there(scorer: Any) -> None:
    with pytest.raises(TeacherError, match="UNAVAILABLE"):
        scorer("127.0.0.1:1", "f", deadline_s=0.3).info()
