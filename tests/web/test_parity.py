"""The device in a browser gives what the device in Python gives: tokens, scores, texts."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from odd_tokenizers import byte_level, sentencepiece
from tokenizers import Tokenizer, pre_tokenizers
from web_answers import OPEN, check_answers_as_in_python
from web_site import Site

from escalade.edge import Artifact
from escalade.edge.base import read_records, subsample

pytestmark = pytest.mark.web

QUERIES, TEXTS, FEWER = 1000, 10_000, 2000


def test_a_thousand_queries_have_the_same_tokens_and_scores(
    opened: Any, site: Site, bundled: Path
) -> None:
    records = read_records(bundled.parent / "data" / "valid.jsonl")
    prompts = [record.prompt for record in subsample(records, QUERIES)]
    assert len(prompts) == QUERIES
    with opened(f"{site.url}/harness/") as page:
        assert page.evaluate(OPEN)["threads"] == 2
        check_answers_as_in_python(page, Artifact.open(bundled), prompts)


def test_ten_thousand_texts_have_the_same_ids(opened: Any, site: Site, bundled: Path) -> None:
    """In the worker, through the artifact, as a query is read."""
    artifact = Artifact.open(bundled)
    texts = [one for one in _texts() if one.strip()]
    with opened(f"{site.url}/harness/") as page:
        page.evaluate(OPEN)
        rows = page.evaluate("texts => device.encode(texts)", texts)
    for text, row in zip(texts, rows, strict=True):
        ids = artifact.encode(text)
        assert row["ids"] == ids, repr(text)
        assert row["text"] == artifact.decode(ids), repr(text)


@pytest.mark.parametrize(
    "tokenizer",
    [
        byte_level(),
        byte_level(add_prefix_space=True),
        byte_level(pre_tokenizers.Digits(individual_digits=True)),
        sentencepiece(everywhere=True),
        sentencepiece(everywhere=False),
    ],
    ids=["byte level", "with a blank before", "digits alone", "llama 2", "the first blank alone"],
)
def test_tokenizers_of_other_families_too(opened: Any, site: Site, tokenizer: Tokenizer) -> None:
    texts = _texts()[:FEWER]
    with opened(f"{site.url}/harness/") as page:
        rows = page.evaluate(
            "([file, texts]) => tokenized(file, texts)", [tokenizer.to_str(), texts]
        )
    for text, (ids, said) in zip(texts, rows, strict=True):
        wanted = tokenizer.encode(text).ids
        assert ids == wanted, repr(text)
        assert said == tokenizer.decode(wanted), repr(text)


def _texts() -> list[str]:
    rng = random.Random(15)
    alphabet = "abcdefghijklmnopqrstuvwxyz'- .:?!ABHCéß字🙂\t\n\r\u0301  0123456789\uff11ﬁİ"
    letters = [*alphabet, "<eos>", "<pad>", "<s>", "g2p: ", "▁", "'s", " ."]
    return ["".join(rng.choices(letters, k=rng.randint(1, 40))) for _ in range(TEXTS)]
