"""How a gateway learns, in a file: what does not fit the cascade is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from escalade.cli.learning.settings import LearnPlan
from escalade.training.errors import RecipeError
from escalade.training.online import EncoderTable

CASCADE = """
[[tiers]]
name = "linear"
members = ["store/current"]

[[tiers]]
name = "large"
address = "127.0.0.1:1"
"""
LEARN = 'labels = ["joy", "sadness"]\n\n[[level]]\nkind = "linear"\nname = "linear"\n'


def plan(folder: Path, learn: str = LEARN, cascade: str = CASCADE) -> LearnPlan:
    (folder / "learn.toml").write_text(learn)
    (folder / "cascade.toml").write_text(cascade)
    return LearnPlan(folder / "learn.toml", folder / "cascade.toml")


def test_paths_are_beside_the_files(tmp_path: Path) -> None:
    found = plan(tmp_path, 'private_key = "key.pem"\n' + LEARN)
    assert found.stores == [tmp_path / "store"]
    assert found.private_key == tmp_path / "key.pem"
    assert (found.feed, found.checkpoint.parent) == (tmp_path / "learned/feed", found.folder)
    assert found.configuration.labels == ["joy", "sadness"]
    encoder = plan(tmp_path, LEARN.replace('"linear"\n', '"encoder"\npath = "bert"\n', 1))
    [level] = encoder.configuration.level
    assert isinstance(level, EncoderTable)
    assert level.path == str(tmp_path / "bert")


@pytest.mark.parametrize(
    ("learn", "cascade", "why"),
    [
        (LEARN, CASCADE.replace("store/current", "artifact"), "one member, STORE/current"),
        (
            LEARN,
            CASCADE.replace("current\"]", "current\"]\ngate = { threshold = 0.5 }"),
            "gate.threshold must not be given",
        ),
        (LEARN, CASCADE.partition("\n\n")[0], "its last tier must have an address"),
        (LEARN.replace('"linear"\n', '"other"\n').replace('kind = "other"', 'kind = "linear"'),
         CASCADE, "level 'other': must be a tier below the last, one of linear"),
        (LEARN.replace('"sadness"', '"Joy"'), CASCADE, "cannot be told apart"),
        ("share = 1.5\n" + LEARN, CASCADE, "share"),
        ("window = 3\n" + LEARN, CASCADE, "window"),
        (f"seed = {1 << 32}\n" + LEARN, CASCADE, "4294967295"),
        ("epsilom = 0.1\n" + LEARN, CASCADE, "epsilon"),
        (LEARN + "words = [3, 1]\n", CASCADE, "words must be two rising numbers in 1-8"),
        (LEARN + "characters = [3, 9]\n", CASCADE, "characters must be two rising numbers"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(tmp_path: Path, learn: str, cascade: str, why: str) -> None:
    with pytest.raises(RecipeError) as raised:
        plan(tmp_path, learn, cascade)
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)
    assert str(tmp_path) in str(raised.value)


def test_the_folder_of_a_run_over_a_stream_is_not_a_gateways(tmp_path: Path) -> None:
    (tmp_path / "learned").mkdir()
    (tmp_path / "learned" / "events.jsonl").touch()
    with pytest.raises(RecipeError, match=r"folder 'learned' is of a run over a stream"):
        plan(tmp_path)
