"""Stages: done once, again where their files changed, and never for other settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from escalade.cli.errors import CliError
from escalade.cli.improvement.stages import STAGES_NAME, Stages, Work, read_work


class CutOff(BaseException):
    """Stands for a kill."""


class Bench:
    """Three stages, each of which writes what it reads of the one before."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.made = folder, list[str]()

    def go(self, wanted: str = "a", before: str = "v1") -> list[str]:
        self.made = []
        stages = Stages(self.folder, Work(wanted={"is": wanted}, before=before), lambda line: None)
        stages.do("one", ["one.txt"], lambda: self.write("one", "1"))
        stages.do("two", ["two"], lambda: self.write("two/x", "2"), but=("late.txt",))
        stages.do("three", ["three.txt", "two/late.txt"], lambda: self.write("two/late", "3"))
        return self.made

    def write(self, name: str, text: str) -> None:
        path = self.folder / f"{name}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        self.made.append(name)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_what_is_done_is_not_done_again(bench: Bench) -> None:
    assert bench.go() == ["one", "two/x", "two/late"]
    assert bench.go() == []


@pytest.mark.parametrize(
    ("changed", "again"),
    [
        ("one.txt", ["one", "two/x", "two/late"]),
        ("two/x.txt", ["two/x", "two/late"]),
        ("two/late.txt", ["two/late"]),
    ],
)
@pytest.mark.parametrize("gone", [True, False])
def test_what_was_changed_is_made_again_and_what_was_made_of_it(
    bench: Bench, changed: str, again: list[str], gone: bool
) -> None:
    bench.go()
    path = bench.folder / changed
    path.unlink() if gone else path.write_text("other")
    assert bench.go() == again
    assert bench.go() == []


def test_a_stage_that_fails_is_not_done(bench: Bench) -> None:
    stages = Stages(bench.folder, Work(wanted={"is": "a"}, before="v1"), lambda line: None)

    def fail() -> None:
        (bench.folder / "one.txt").write_text("half")
        raise CutOff

    with pytest.raises(CutOff):
        stages.do("one", ["one.txt"], fail)
    assert bench.go("b") == ["one", "two/x", "two/late"]  # nothing was done of other work


def test_other_work_is_refused_and_named(bench: Bench) -> None:
    bench.go()
    with pytest.raises(CliError, match="of other settings: is was 'a', is 'b'; put them back"):
        bench.go(wanted="b")
    with pytest.raises(CliError, match="the current version was 'v1', is 'v2'"):
        bench.go(before="v2")


def test_a_damaged_file_of_stages_is_one_line(bench: Bench) -> None:
    bench.go()
    (bench.folder / STAGES_NAME).write_text("{")
    with pytest.raises(CliError, match=r"stages\.json: damaged: .*; delete .* to begin again"):
        read_work(bench.folder)
