"""A response as it is generated: its text, its stop sequences, and every way it can end."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from escalade.edge.errors import PromptError
from escalade.edge.generation.artifact import Artifact
from escalade.edge.generation.generation import Delta, Generation
from escalade.edge.runtimes.base import Sampling, Step

PROMPT = "g2p: cascade"
UNK = "<unk>"


def byte_level() -> Tokenizer:
    """As of GPT-2, Llama 3 or Qwen, without merges: a token is a byte."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({byte: n for n, byte in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<eos>"])
    return tokenizer


def byte_fallback() -> Tokenizer:
    """As of Llama 2 or Mistral: words, and bytes for what they do not cover."""
    words = [UNK, *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"abcdefghijk好"]
    tokenizer = Tokenizer(
        models.BPE({w: n for n, w in enumerate(words)}, [], unk_token=UNK, byte_fallback=True)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens(["<eos>"])
    return tokenizer


BYTES, FALLBACK = byte_level(), byte_fallback()
TEXTS = st.text(st.sampled_from("abc \n好é🙂🇪\u0301"), min_size=1, max_size=12)


def steps_of(ids: Sequence[int]) -> Iterator[Step]:
    for number, token_id in enumerate(ids):
        yield Step(token_id, -0.5 * number, ended=False)


def generated(tokenizer: Tokenizer, ids: Sequence[int], **options: object) -> list[Delta]:
    return list(Generation(steps_of(ids), tokenizer, len(ids), **options))  # type: ignore[arg-type]


def joined(pieces: Sequence[Delta]) -> str:
    return "".join(piece.text for piece in pieces)


@pytest.mark.parametrize("tokenizer", [BYTES, FALLBACK], ids=["byte level", "byte fallback"])
@given(text=TEXTS)
@settings(deadline=None)
def test_pieces_make_the_text_and_none_ends_within_a_character(
    tokenizer: Tokenizer, text: str
) -> None:
    ids = tokenizer.encode(text).ids
    pieces = generated(tokenizer, ids)
    assert joined(pieces) == tokenizer.decode(ids)
    assert not any("\ufffd" in piece.text for piece in pieces)
    assert [piece.step for piece in pieces] == list(steps_of(ids))
    assert [piece.stop for piece in pieces] == [None] * (len(ids) - 1) + ["length"]


@given(st.lists(st.integers(0, 256), min_size=1, max_size=30))
@settings(deadline=None)
def test_any_bytes_become_what_decoding_them_whole_gives(ids: list[int]) -> None:
    assert joined(generated(BYTES, ids)) == BYTES.decode(ids)


@given(st.lists(st.integers(0, FALLBACK.get_vocab_size() - 1), min_size=1, max_size=30))
@settings(deadline=None)
def test_bytes_that_are_no_text_make_the_text_that_calibration_sees(ids: list[int]) -> None:
    generation = Generation(steps_of(ids), FALLBACK, len(ids))
    pieces = list(generation)
    assert len(pieces) == len(ids)
    assert generation.text == FALLBACK.decode(ids)


RUNS = st.lists(
    st.sampled_from(["<0xC3>", "<0xA9>", "<0xE5>", "<0xA5>", "<0xBD>", "a", "▁", "好"]),
    min_size=1,
    max_size=12,
)


@given(RUNS)
@settings(deadline=None)
def test_characters_that_a_later_byte_breaks_lose_nothing_after_them(tokens: list[str]) -> None:
    ids = [FALLBACK.token_to_id(token) for token in [*tokens, "a", "b", "c"]]
    generation = Generation(steps_of(ids), FALLBACK, len(ids))
    assert joined(list(generation)).endswith("abc")
    assert generation.text == FALLBACK.decode(ids)


def test_a_character_that_was_given_is_followed_by_what_replaced_it() -> None:
    tokens = ["<0xC3>", "<0xA9>", "<0xC3>", "a", "▁", "b"]
    ids = [FALLBACK.token_to_id(token) for token in tokens]
    generation = Generation(steps_of(ids), FALLBACK, len(ids))
    lost = "\ufffd" * 3
    assert [piece.text for piece in generation] == ["", "é", "", f"{lost}a", " ", "b"]
    assert generation.text == FALLBACK.decode(ids) == f"{lost}a b"
    cut = Generation(steps_of(ids), FALLBACK, len(ids), stop=[" b"])
    assert joined(list(cut)) == f"é{lost}a"
    assert (cut.text, cut.stop) == (f"{lost}a", "stop")


def test_special_tokens_are_no_text() -> None:
    eos = BYTES.token_to_id("<eos>")
    ids = [*BYTES.encode("a").ids, eos, *BYTES.encode("b").ids]
    assert joined(generated(BYTES, ids)) == "ab"


def first_stop(text: str, stops: Sequence[str]) -> str | None:
    """What a reader of one character after the other has seen before the first stop."""
    for end in range(1, len(text) + 1):
        ending = [stop for stop in stops if text[:end].endswith(stop)]
        if ending:
            return text[: end - max(map(len, ending))]
    return None


@given(
    text=st.text(st.sampled_from("ab好"), min_size=1, max_size=16),
    stops=st.lists(st.text(st.sampled_from("ab好"), min_size=1, max_size=4), max_size=3),
    cuts=st.sets(st.integers(1, 15)),
)
@settings(deadline=None)
def test_a_stop_sequence_ends_the_text_however_tokens_divide_it(
    text: str, stops: list[str], cuts: set[int]
) -> None:
    # One token for each part, so that a stop sequence may begin and end within tokens.
    edges = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    parts = [text[start:end] for start, end in itertools.pairwise(edges)]
    words = {part: number for number, part in enumerate(dict.fromkeys(parts))}
    tokenizer = Tokenizer(models.WordLevel({**words, UNK: len(words)}, unk_token=UNK))
    tokenizer.decoder = decoders.Fuse()
    ids = [words[part] for part in parts]
    pieces = generated(tokenizer, ids, stop=stops)
    expected = first_stop(text, stops)
    assert joined(pieces) == (text if expected is None else expected)
    assert pieces[-1].stop == ("length" if expected is None else "stop")
    assert all(piece.stop is None for piece in pieces[:-1])
    # Nothing is shown late: what cannot become a stop sequence is out with its token.
    for number in range(1, len(pieces)):
        seen = "".join(parts[:number])
        held = len(seen) - len(joined(pieces[:number]))
        assert not held or any(stop.startswith(seen[-held:]) for stop in stops)


def test_a_response_ends_where_a_server_would_end_it(stop_case: Any) -> None:
    ids = stop_case.ids()
    generation = Generation(steps_of(ids), stop_case.tokenizer(), len(ids), stop=stop_case.stops)
    assert joined(list(generation)) == stop_case.text
    assert generation.text == stop_case.text
    assert generation.stop == ("stop" if stop_case.stopped else "length")


def test_the_token_that_completes_a_stop_sequence_counts() -> None:
    ids = BYTES.encode("ab--cd").ids
    generation = Generation(steps_of(ids), BYTES, len(ids), stop=["--"])
    assert joined(list(generation)) == "ab"
    assert (generation.text, generation.stop) == ("ab", "stop")
    assert generation.logprobs == [0.0, -0.5, -1.0, -1.5]
    assert next(generation, None) is None


def test_what_was_held_back_is_given_at_the_end() -> None:
    ids = BYTES.encode("ab-").ids
    assert [piece.text for piece in generated(BYTES, ids, stop=["--"])] == ["a", "b", "-"]


def test_giving_up_can_be_taken_back() -> None:
    asked: list[int] = []

    def stop_when(logprobs: Sequence[float]) -> bool:
        asked.append(len(logprobs))
        return len(logprobs) == 3

    ids = BYTES.encode("ab-好d").ids
    generation = Generation(steps_of(ids), BYTES, len(ids), stop=["-x"], stop_when=stop_when)
    assert [piece.stop for piece in generation] == [None, None, "stopped_early"]
    assert (generation.text, generation.stop, asked) == ("ab", "stopped_early", [1, 2, 3])
    generation.resume()
    assert [piece.text for piece in generation] == ["", "", "-好", "d"]
    assert (generation.text, generation.stop) == ("ab-好d", "length")
    assert len(generation.steps) == len(ids)
    generation.resume()
    assert list(generation) == []
    assert asked == [1, 2, 3]


@given(
    ids=st.lists(st.integers(0, FALLBACK.get_vocab_size() - 1), min_size=1, max_size=30),
    stops=st.lists(st.sampled_from(["a", "bc", "好"]), max_size=1),
    pieces=st.integers(0, 5),
    gives_up_at=st.none() | st.integers(1, 8),
    ended=st.booleans(),
)
@settings(deadline=None)
def test_who_takes_no_pieces_gets_the_same(
    ids: list[int], stops: list[str], pieces: int, gives_up_at: int | None, *, ended: bool
) -> None:
    def begun() -> Generation:
        steps = list(steps_of(ids))
        if ended:
            steps[-1] = replace(steps[-1], ended=True)

        def stop_when(logprobs: Sequence[float]) -> bool:
            return len(logprobs) == gives_up_at

        # One more than there are: without an end it is as if it had been cancelled.
        most = len(ids) + 1
        return Generation(iter(steps), FALLBACK, most, stop=stops, stop_when=stop_when)

    one, other = begun(), begun()
    list(one)
    list(itertools.islice(other, pieces))
    other.run()
    assert (other.stop, other.steps, other.logprobs) == (one.stop, one.steps, one.logprobs)
    if one.stop == "stopped_early":
        one.resume()
        other.resume()
        list(one)
        list(other)
    assert (other.text, other.stop, other.steps) == (one.text, one.stop, one.steps)
    other.run()
    assert (other.text, list(other)) == (one.text, [])


def test_an_empty_stop_sequence_is_refused(float_artifact: Path) -> None:
    with pytest.raises(ValueError, match="at least 1 character"):
        Artifact.open(float_artifact).stream([4, 5], stop=["a", ""])


@pytest.fixture(scope="module")
def artifact(float_artifact: Path) -> Artifact:
    return Artifact.open(float_artifact)


def test_a_stream_is_the_response(artifact: Artifact) -> None:
    ids = artifact.encode(PROMPT)
    steps = artifact.generate(ids)
    generation = artifact.stream(ids)
    assert [piece.step for piece in generation] == steps
    assert generation.text == artifact.decode([s.token_id for s in steps if not s.ended])
    assert generation.stop == ("end" if steps[-1].ended else "length")


def test_a_response_is_as_long_as_asked_and_never_longer_than_the_window(
    artifact: Artifact,
) -> None:
    ids = artifact.encode(PROMPT)
    whole = artifact.generate(ids)
    short = artifact.stream(ids, 2)
    assert [piece.step for piece in short] == whole[:2]
    assert short.stop == "length"
    assert [piece.step for piece in artifact.stream(ids, 10_000)] == whole
    with pytest.raises(ValueError, match="max_new_tokens must be at least 1, got 0"):
        artifact.stream(ids, 0)
    for bad in ([], [4] * artifact.manifest.model.window):
        with pytest.raises(PromptError, match="this model takes 1 to"):
            artifact.stream(bad)


def test_a_thread_cancels_between_tokens(artifact: Artifact) -> None:
    # The other thread sets the event once two tokens are there, and this one waits for it
    # before it asks for the third: no sleeping, and no luck.
    two, cancelled = threading.Event(), threading.Event()

    def cancel() -> None:
        two.wait(timeout=60)
        cancelled.set()

    other = threading.Thread(target=cancel)
    other.start()
    generation = artifact.stream(artifact.encode(PROMPT), cancelled=cancelled.is_set)
    next(generation)
    next(generation)
    two.set()
    other.join(timeout=60)
    last = list(generation)
    assert [(piece.step, piece.stop) for piece in last] == [(None, "cancelled")]
    assert generation.steps == artifact.generate(artifact.encode(PROMPT))[:2]


def test_cancelled_before_the_prompt_is_read_nothing_is_generated(artifact: Artifact) -> None:
    generation = artifact.stream(artifact.encode(PROMPT), cancelled=lambda: True)
    assert list(generation) == [Delta(None, "", "cancelled")]


def test_another_response_ends_the_one_before(artifact: Artifact) -> None:
    ids = artifact.encode(PROMPT)
    first = artifact.stream(ids)
    next(first)
    whole = artifact.generate(artifact.encode("p2g: K AE T"))
    assert next(first) == Delta(None, "", "cancelled")
    assert whole == artifact.generate(artifact.encode("p2g: K AE T"))


def test_two_artifacts_take_turns(float_artifact: Path, int8_artifact: Path) -> None:
    opened = [Artifact.open(float_artifact), Artifact.open(int8_artifact)]
    prompts = [artifact.encode(PROMPT) for artifact in opened]
    expected = [a.generate(ids, 12) for a, ids in zip(opened, prompts, strict=True)]
    streams = [a.stream(ids, 12) for a, ids in zip(opened, prompts, strict=True)]
    for _ in range(12):
        for stream in streams:
            next(stream, None)
    assert [stream.steps for stream in streams] == expected


def test_sampling_repeats_with_its_seed_and_scores_under_the_model(artifact: Artifact) -> None:
    ids = artifact.encode(PROMPT)
    hot = Sampling(temperature=3.0, seed=5)
    first = list(artifact.stream(ids, sampling=hot))
    assert first == list(artifact.stream(ids, sampling=hot))
    other = artifact.stream(ids, sampling=Sampling(temperature=3.0, seed=6))
    assert first != list(other)
    # A cut that leaves one token draws what greedy decoding takes, with its log-probability.
    greedy = artifact.generate(ids)
    drawn = artifact.stream(ids, sampling=Sampling(temperature=3.0, top_k=1))
    list(drawn)
    assert [step.token_id for step in drawn.steps] == [step.token_id for step in greedy]
    assert drawn.logprobs == pytest.approx([step.logprob for step in greedy], abs=1e-5)
