"""Hashed n-grams: what a word is and where it goes, on any machine; TF-IDF is scikit-learn's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from zlib import crc32

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfTransformer

from escalade.edge.classification import Frequencies, HashedNgrams, tfidf

TEXTS = [
    "I did not like it. I did not!",
    "Don\u2019t go there, don't",
    "Ärger und Freude",
    "",
    "?!",
    "good good good",
    "\N{FAMILY} \ud800 snow_flake 12",
]


def test_a_text_is_counted_by_its_words_and_their_pairs() -> None:
    buckets, counts = HashedNgrams().counts("Not good, NOT good")
    grams = Counter(["not", "good", "not", "good", "not good", "good not", "not good"])
    wanted = {crc32(gram.encode()) % (1 << 18): count for gram, count in grams.items()}
    assert dict(zip(buckets.tolist(), counts.tolist(), strict=True)) == wanted
    assert (buckets.dtype, counts.dtype) == (np.int32, np.float32)


def test_characters_are_those_within_words_and_are_not_taken_for_words() -> None:
    features = HashedNgrams(characters=(2, 3))
    words, counts = HashedNgrams().counts("No, a")
    buckets, both = features.counts("No, a")
    grams = [" n", "no", "o ", " no", "no ", " a", "a ", " a "]
    wanted = {crc32(b"\0" + gram.encode()) % (1 << 18): 1 for gram in grams}
    wanted |= dict(zip(words.tolist(), counts.tolist(), strict=True))
    assert dict(zip(buckets.tolist(), both.tolist(), strict=True)) == wanted
    # What was fitted before there were any is read as before.
    assert HashedNgrams().fingerprint == (
        "99197797d36a827c6429f1b2785f2ee98037fb5989a81484551c97c986fe9d28"
    )
    assert features.fingerprint != HashedNgrams().fingerprint


@given(
    st.text(),
    st.integers(2, 50),
    st.sampled_from([(1, 1), (1, 2), (2, 2), (1, 3), (3, 5)]),
    st.sampled_from([None, (1, 1), (3, 5), (1, 8)]),
)
def test_buckets_rise_and_no_ngram_is_lost(
    text: str, buckets: int, words: tuple[int, int], characters: tuple[int, int] | None
) -> None:
    both = [HashedNgrams(buckets=n, words=words, characters=characters) for n in (buckets, 1 << 24)]
    few, many = (features.counts(text) for features in both)
    assert (
        few[1].sum()
        <= HashedNgrams(
            words=words, characters=characters, longest_text=max(len(text), 1)
        ).most_ngrams
    )
    assert np.all(np.diff(few[0]) > 0)
    assert np.all((few[0] >= 0) & (few[0] < buckets))
    assert few[1].sum() == many[1].sum()


def test_texts_without_a_word_have_none_and_the_end_of_a_long_one_does_not_count() -> None:
    for empty in ("", " \n", "?!", "\ud800"):
        assert HashedNgrams().counts(empty)[0].size == 0
    short = HashedNgrams(longest_text=9)
    assert short.counts("good film" + " bad" * 1000)[0].tolist() == (
        HashedNgrams().counts("good film")[0].tolist()
    )


def test_another_process_with_another_hash_seed_says_the_same() -> None:
    code = (
        "from escalade.edge.classification import HashedNgrams\n"
        f"for text in {TEXTS!r}: print(HashedNgrams(words=(1, 3)).counts(text)[0].tolist())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    here = [str(HashedNgrams(words=(1, 3)).counts(text)[0].tolist()) for text in TEXTS]
    assert said == {"\n".join(here) + "\n"}


@given(st.lists(st.text(alphabet="ab c", max_size=30), min_size=1, max_size=8))
def test_tfidf_is_scikit_learns(texts: list[str]) -> None:
    features = HashedNgrams(buckets=32)
    frequencies = Frequencies(32)
    found = [features.counts(text) for text in texts]
    for buckets, _ in found:
        frequencies.add(buckets)
    ends = np.cumsum([0, *(len(buckets) for buckets, _ in found)])
    buckets, counts = (np.concatenate(one) for one in zip(*found, strict=True))
    wanted = TfidfTransformer().fit_transform(csr_matrix((counts, buckets, ends), (len(texts), 32)))
    for row, (own, how_often) in enumerate(found):
        values = tfidf(own, how_often, frequencies)
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, wanted[row].toarray()[0][own], atol=1e-6)


def test_statistics_are_of_the_documents_up_to_now() -> None:
    features, frequencies = HashedNgrams(words=(1, 1)), Frequencies(1 << 18)
    first = features.counts("a b")
    before = tfidf(*first, frequencies)
    frequencies.add(features.counts("a")[0])
    after = tfidf(*first, frequencies)
    assert before[0] == before[1]
    assert after[0] != after[1]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"buckets": 1}, "buckets must be in 2-16777216, got 1"),
        ({"longest_text": 0}, "longest_text must be in 1-1048576, got 0"),
        ({"words": (2, 1)}, r"words must be two rising numbers in 1-8, got 2, 1"),
        ({"words": (1, 9)}, r"words must be two rising numbers in 1-8, got 1, 9"),
        ({"characters": (0, 3)}, r"characters must be two rising numbers in 1-8, got 0, 3"),
    ],
)
def test_values_out_of_range_are_named(values: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        HashedNgrams(**values)  # type: ignore[arg-type]
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(values), type=HashedNgrams)
