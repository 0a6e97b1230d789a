"""A response's text while it grows: whole characters, stop texts, tokens that are no text."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_tokenizers import byte_level, sentencepiece
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast
from transformers.generation.stopping_criteria import StopStringCriteria

from escalade.v1.growing_text import GrowingText, speller
from escalade.v1.stop_text import find_stop, held_back

PIECES = st.lists(st.text("ab好", min_size=1, max_size=3), min_size=1, max_size=8)
STOPS = st.lists(st.text("ab好", min_size=1, max_size=4), max_size=3)


@given(PIECES, STOPS)
@settings(deadline=None)
def test_growing_text_gives_what_is_sure_and_no_less(pieces: list[str], stops: list[str]) -> None:
    whole = "".join(pieces)
    text = GrowingText(lambda ids: "".join(pieces[i] for i in ids), stops)
    shown, tokens = "", 0
    for number in range(len(pieces)):
        text.add(number)
        if text.stopped:
            break
        taken, more = text.take()
        assert taken.start == tokens
        shown, tokens = shown + more, taken.stop
        so_far = "".join(pieces[: number + 1])
        assert shown == so_far[: len(so_far) - held_back(so_far, stops)]
        assert shown.startswith("".join(pieces[:tokens]))
    at = find_stop(whole, stops)
    assert text.stopped == (at is not None)
    cut = text.end()
    assert cut.text == whole[:at]
    assert cut.text.startswith(shown)
    assert tokens <= cut.token_count
    assert cut.text.startswith("".join(pieces[: cut.token_count]))


@given(st.binary(max_size=12) | st.text("aé好🙂\ufffd", max_size=6).map(str.encode))
@settings(deadline=None)
def test_growing_text_waits_for_whole_characters(said: bytes) -> None:
    text = GrowingText(lambda ids: bytes(ids).decode(errors="replace"), ())
    shown, tokens = "", 0
    for byte in said:
        text.add(byte)
        taken, more = text.take()
        shown, tokens = shown + more, taken.stop
        assert shown == said[:tokens].decode(errors="replace")
    whole = said.decode(errors="replace")
    assert text.end()[:2] == (whole, len(said))
    assert whole.startswith(shown)
    assert set(whole[len(shown) :]) <= {"\ufffd"}


BYTES, FALLBACK = byte_level(), sentencepiece(everywhere=False)
SAYS = {
    id(BYTES): ["a", "b", "Ġ", "<", "eos", "<eos>", "<bos>", "Ċ", "Ã", "©"],
    id(FALLBACK): ["a", "b", "▁", "▁a", "<s>", "</s>", "<0x3C>", "<0xC3>", "<0xA9>"],
}
SPELLED = st.sampled_from(
    ["<eos>", "</s>", "a<eos>", "</s>b", "eos>", "<bos><eos>", "<s></s>", "a</s>a", " <", "b <s>"]
)


def stopped_after(text: GrowingText, ids: Sequence[int]) -> int | None:
    for number, token in enumerate(ids, 1):
        text.add(token)
        if text.stopped:
            return number
    return None


@pytest.mark.parametrize("tokenizer", [BYTES, FALLBACK], ids=["byte level", "byte fallback"])
@given(data=st.data(), stops=st.lists(SPELLED, min_size=1, max_size=3, unique=True))
@settings(deadline=None, max_examples=20)  # transformers takes its time with each
def test_special_tokens_stop_after_the_token_that_transformers_stops_after(
    tokenizer: Tokenizer, data: st.DataObject, stops: list[str]
) -> None:
    known = [tokenizer.token_to_id(token) for token in SAYS[id(tokenizer)]]
    known = [token for token in known if token is not None]
    # Whole characters at the beginning: the first token of a text may lose a blank.
    ids = tokenizer.encode("aa", add_special_tokens=False).ids
    ids += data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=12))
    whole = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    criteria = StopStringCriteria(whole, stops)
    theirs = next(
        (n for n in range(1, len(ids) + 1) if criteria(torch.tensor([ids[:n]]), None)[0]), None
    )
    text = GrowingText(lambda some: str(tokenizer.decode(list(some))), stops, speller(tokenizer))
    assert stopped_after(text, ids) == theirs
    said = text.end().text
    assert tokenizer.decode(ids[:theirs]).startswith(said)
    assert not any(name in said for name in ("<eos>", "</s>", "<bos>", "<s>") if name in stops)


def test_special_tokens_after_half_a_character_stand_side_by_side() -> None:
    half = [*FALLBACK.encode("aa", add_special_tokens=False).ids, 198]
    for stop, tokens in (("<s></s>", ("<s>", "</s>")), ("</s>b", ("</s>", "b"))):
        ids = half + [FALLBACK.token_to_id(token) for token in tokens]
        text = GrowingText(lambda some: str(FALLBACK.decode(list(some))), [stop], speller(FALLBACK))
        assert stopped_after(text, ids) == len(ids)


def test_what_a_special_token_spells_is_never_shown() -> None:
    tokenizer = byte_level()
    ids = [tokenizer.token_to_id(token) for token in ("a", "<eos>", "b", "<bos>", "a", "b")]
    text = GrowingText(lambda some: str(tokenizer.decode(list(some))), ["ab"], speller(tokenizer))
    shown = []
    for token in ids[:-1]:
        text.add(token)
        shown.append(text.take())
    # An `a` may yet become the stop text, and does not across a special token.
    assert shown == [
        (slice(0, 0), ""), (slice(0, 2), "a"), (slice(2, 3), "b"), (slice(3, 4), ""),
        (slice(4, 4), ""),
    ]  # fmt: skip
    text.add(ids[-1])
    assert text.stopped
    assert text.end() == ("ab", 4, "")
