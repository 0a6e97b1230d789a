"""A run that was cut off goes on where it was, and only where it may."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from recipe_runs import (
    CHECKPOINT_STEPS,
    STEPS,
    CutOff,
    Write,
    assert_same_weights,
    cut_off,
    log_of,
    silent,
)

from escalade.training.errors import RecipeError
from escalade.training.recipes.resume import last_checkpoint
from escalade.training.recipes.run import run_recipe


@pytest.mark.parametrize("step", [6, 11], ids=["first epoch", "second epoch"])
def test_a_run_that_was_cut_off_ends_with_the_same_weights(
    step: int, finished: Path, workplace: Path, write: Write
) -> None:
    out = workplace / f"cut-{step}"
    cut_off(write(), out, step)
    assert not out.exists()
    last = step // CHECKPOINT_STEPS * CHECKPOINT_STEPS
    assert (workplace / f"{out.name}.run" / f"checkpoint-{last}").is_dir()
    first_seen: list[int] = []
    run_recipe(write(), out, progress=lambda stage, done, *_: first_seen.append(done))
    assert first_seen[0] == last + 1
    assert_same_weights(out, finished)
    assert [e["step"] for e in log_of(out)] == [e["step"] for e in log_of(finished)]


def timeless(log: list[dict[str, float]]) -> list[dict[str, float]]:
    timed = ("runtime", "per_second")
    return [{key: entry[key] for key in entry if not key.endswith(timed)} for entry in log]


def test_a_checkpoint_that_was_half_written_is_passed_over(
    finished: Path, workplace: Path, write: Write
) -> None:
    out = workplace / "torn"
    cut_off(write(), out, 7)
    (workplace / "torn.run" / "checkpoint-6" / "trainer_state.json").unlink()
    run_recipe(write(), out, progress=silent)
    assert_same_weights(out, finished)


def test_a_checkpoint_that_was_damaged_is_passed_over(
    finished: Path, workplace: Path, write: Write
) -> None:
    out, said = workplace / "damaged", list[str]()
    cut_off(write(), out, 7)
    state, whole = workplace / "damaged.run", workplace / "damaged.whole"
    shutil.copytree(state, whole)
    names = sorted(path.name for path in (whole / "checkpoint-6").iterdir())
    assert {"model.safetensors", "optimizer.pt", "rng_state.pth", "sha256.json"} <= {*names}
    assert last_checkpoint(state) == state / "checkpoint-6"
    for name in names:
        path = state / "checkpoint-6" / name
        content = path.read_bytes()
        middle = len(content) // 2
        for damaged in (
            b"",
            content[:middle],
            (whole / "checkpoint-6" / names[names[0] == name]).read_bytes(),
            content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        ):
            path.write_bytes(damaged)
            said.clear()
            assert last_checkpoint(state, said.append) == state / "checkpoint-3"
            [line] = said
            assert line.startswith(f"{state / 'checkpoint-6'}/")
            assert line.endswith("the run goes on from the checkpoint before, or begins again")
        path.write_bytes(content)
    for step in (3, 6):
        (state / f"checkpoint-{step}" / "optimizer.pt").write_bytes(b"")
    said.clear()
    run_recipe(write(), out, progress=silent, say=said.append)
    assert [line.partition(" ")[0] for line in said[:2]] == [
        str(state / f"checkpoint-{step}" / "optimizer.pt") for step in (6, 3)
    ]
    assert_same_weights(out, finished)


def test_a_run_whose_recipe_was_damaged_says_how_to_begin_again(
    workplace: Path, write: Write
) -> None:
    out = workplace / "spoiled"
    cut_off(write(), out, 4)
    for content in (b"", b"\xff\x00", b'name = "tiny"'):
        (workplace / "spoiled.run" / "recipe.toml").write_bytes(content)
        with pytest.raises(RecipeError, match=r"spoiled\.run is damaged: delete it to begin again"):
            run_recipe(write(), out, progress=silent)


def test_a_run_cut_off_after_its_last_step_takes_no_other(
    finished: Path, workplace: Path, write: Write
) -> None:
    out = workplace / "at-the-end"

    def cut_when_validating(stage: str, *_: object) -> None:
        if stage == "validate":
            raise CutOff

    with pytest.raises(CutOff):
        run_recipe(write(), out, progress=cut_when_validating)
    metrics = run_recipe(write(), out, progress=silent)
    assert metrics["steps"] == STEPS
    assert_same_weights(out, finished)
    assert timeless(log_of(out)) == timeless(log_of(finished))


def test_another_recipes_unfinished_run_is_not_gone_on_with(workplace: Path, write: Write) -> None:
    out = workplace / "claimed"
    cut_off(write(), out, 4)
    with pytest.raises(RecipeError, match=r"claimed\.run holds the unfinished run of another"):
        run_recipe(write("tiny", seed=3), out, progress=silent)
    # How often it logs changes nothing that is learned.
    cut_off(write("tiny", log_steps=1), out, 4)
