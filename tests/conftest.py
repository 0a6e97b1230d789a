"""Models, artifacts and a clock that tests of several parts share: small, random, real."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Before torch is imported, and for the processes that tests start: on a shared machine two
# thread pools that spin against each other take ten times as long as one thread each.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell's job in the background ignores SIGINT, and so does all that it starts. Tests of Ctrl-C
# are to hear it, whoever runs them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A shell that asks for no bytecode would have each of the hundreds of processes that tests start
# compile every module of ours again: half a second before `--help` says anything.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A busy machine is no fault of what is tested.
settings.register_profile("escalade", deadline=None)
settings.load_profile("escalade")


def pytest_collection_finish() -> None:
    """Take torch and all that was imported out of what is searched for garbage.

    An export collects twice; of a million objects that never go, each time takes a second.
    """
    gc.collect()
    gc.freeze()


#: Whose files simulate fleets. Their engine takes half a minute to compile, and each worker that
#: began at once would.
_FLEETS = ("fleet", "planning", "test_plan.py")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Have a worker take whole files, whose fixtures are then made once, and one all of fleets."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "fleets" if any(name in file for name in _FLEETS) else file

    return ByFile(config, log)


GOLDEN_PROMPTS = ("g2p: cascade", "p2g: K AE T", "stress: banana")


@dataclass
class JumpingClock:
    """Sleeping costs no time: the clock jumps, and remembers by how much."""

    slept: list[float] = field(default_factory=list)
    offset_s: float = 0.0

    def now_s(self) -> float:
        return time.perf_counter() + self.offset_s

    def sleep_s(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.offset_s += seconds


@pytest.fixture
def jumping_clock() -> JumpingClock:
    return JumpingClock()


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama with random weights, large enough to make its answers differ, and our tokenizer."""
    return _random_llama(tmp_path_factory.mktemp("models") / "tiny", layers=2, seed=3)


@pytest.fixture(scope="session")
def other_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A larger one, with other answers and the same tokenizer."""
    return _random_llama(tmp_path_factory.mktemp("models") / "other", layers=3, seed=4)


def _random_llama(folder: Path, *, layers: int, seed: int) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from escalade.training.data.tokenizer import build_tokenizer, save_tokenizer

    tokenizer = build_tokenizer()
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=48,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=tokenizer.token_to_id("<eos>"),
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data.mul_(6)  # random logits of a fresh model are too flat to tell apart
    # Published models ask for such things; greedy means the argmax all the same.
    model.generation_config.do_sample, model.generation_config.temperature = True, 0.6
    model.save_pretrained(folder)
    save_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def float_artifact(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as an ONNX artifact in float32. Copy it before changing it."""
    from escalade.export.artifact.artifact import export_artifact

    out = tmp_path_factory.mktemp("artifacts") / "float"
    # As long as the cloud may answer, so that both tiers can give the same answer.
    export_artifact(tiny_model_dir, out, golden_prompts=GOLDEN_PROMPTS, max_new_tokens=47)
    return out


@pytest.fixture(scope="session")
def int8_artifact(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as an ONNX artifact in int8. Copy it before changing it."""
    from escalade.export.artifact.artifact import export_artifact

    out = tmp_path_factory.mktemp("artifacts") / "int8"
    export_artifact(tiny_model_dir, out, quantize="int8", golden_prompts=GOLDEN_PROMPTS)
    return out


@pytest.fixture
def little_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """What matrices matter is measured on a sixteenth of the text: for tests of something else."""
    monkeypatch.setattr("escalade.export.text.calibration._CURVATURE_TOKENS", 256)


class StopCase(NamedTuple):
    """A response token by token, stop texts, and where the response ends for them."""

    name: str
    #: What each token says, no two of them the same; or bytes, each of them a token.
    pieces: tuple[str, ...] | bytes
    stops: tuple[str, ...]
    text: str
    #: Tokens that lie wholly before the cut.
    kept: int
    stopped: bool = True
    #: Pieces that are special tokens: no text, but what a stop text may spell.
    special: tuple[str, ...] = ()

    def tokenizer(self) -> Tokenizer:
        """Whose token i is the i-th piece, or the byte i of GPT-2's alphabet."""
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers

        if isinstance(self.pieces, bytes):
            alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
            tokenizer = Tokenizer(models.BPE({byte: n for n, byte in enumerate(alphabet)}, []))
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(
                add_prefix_space=False, use_regex=False
            )
            tokenizer.decoder = decoders.ByteLevel()
            return tokenizer
        words = {piece: number for number, piece in enumerate(self.pieces)}
        unk = "<unk>"
        tokenizer = Tokenizer(models.WordLevel({**words, unk: len(words)}, unk_token=unk))
        tokenizer.decoder = decoders.Fuse()
        tokenizer.add_special_tokens(list(self.special))
        return tokenizer

    def ids(self) -> list[int]:
        """The response's tokens."""
        if isinstance(self.pieces, bytes):
            return list(self.tokenizer().encode(self.pieces.decode()).ids)
        return list(range(len(self.pieces)))


STOP_CASES = (
    StopCase("none comes", ("ab", "cd"), ("x",), "abcd", 2, stopped=False),
    StopCase("one token", ("ab", "cd", "ef"), ("cd",), "ab", 1),
    StopCase("at the beginning", ("ab", "cd"), ("ab",), "", 0),
    StopCase("at the very end", ("ab", "cd"), ("d",), "abc", 1),
    StopCase("split over two tokens", ("ab", "cd"), ("bc",), "a", 0),
    StopCase("split over three tokens", ("x", "ya", "b", "cz"), ("abc",), "xy", 1),
    StopCase("begins inside a token", ("x", "abc", "d"), ("cd",), "xab", 1),
    StopCase("begins again before it ends", ("a", "aa", "b"), ("aab",), "a", 1),
    StopCase("begins and goes another way", ("ab", "ce"), ("bcd",), "abce", 2, stopped=False),
    StopCase("begins, and the response ends", ("ab", "c"), ("cd",), "abc", 2, stopped=False),
    StopCase("two overlap within one token", ("x", "abcd"), ("bcd", "abc"), "x", 1),
    StopCase("nested within one token", ("x", "abcd"), ("abcd", "bc"), "xa", 1),
    StopCase("nested over tokens", ("a", "b", "c", "d"), ("abcd", "bc"), "a", 1),
    StopCase("nested, both end together", ("ab", "cd"), ("bcd", "abcd"), "", 0),
    StopCase("the later start is whole first", ("a", "bc", "d"), ("abcd", "c"), "ab", 1),
    StopCase("two in a row", ("ab", "cd", "ef"), ("ef", "cd"), "ab", 1),
    StopCase("in the middle of a character", "aé-b".encode(), ("é-",), "a", 1),
    StopCase("after a character of bytes", "aé-b".encode(), ("-",), "aé", 3),
    *(
        StopCase(name, ("ab", "<end>", "xy"), stops, text, kept, stopped, ("<end>",))
        for name, stops, text, kept, stopped in (
            ("a special token", ("<end>",), "ab", 1, True),
            ("part of a special token", ("nd",), "ab", 1, True),
            ("from text into a special token", ("b<end>",), "a", 0, True),
            ("from a special token into text", ("<end>x",), "ab", 1, True),
            ("after a special token", ("y",), "abx", 2, True),
            ("apart but for a special token", ("bx",), "abxy", 3, False),
            ("a special token that is not it", ("<END>",), "abxy", 3, False),
        )
    ),
)


@pytest.fixture(params=STOP_CASES, ids=lambda case: case.name)
def stop_case(request: pytest.FixtureRequest) -> StopCase:
    """Where a response ends for its stop texts, on the device as on a server."""
    case: StopCase = request.param
    return case
