"""Runs that stop anywhere and go on: the same end, nothing lost, nothing learned twice."""

from __future__ import annotations

import multiprocessing
import random
import resource
import shutil
import sys
from pathlib import Path
from signal import SIGKILL

import msgspec
import numpy as np
import pytest
from classifiers import encoder_folder
from made_streams import configuration, encoder_above, learn_until_killed, rows, write
from safetensors import safe_open

from escalade.edge.base import exclusive_lock
from escalade.edge.errors import DataError
from escalade.training.errors import RecipeError
from escalade.training.online import CallableExpert, learn_stream, read_configuration
from escalade.training.online.record import read_checkpoint, write_checkpoint

# What takes seconds to import, once for all processes that are killed.
_PRELOADED = [
    "escalade.training.online.encoders",
    "transformers.models.bert.modeling_bert",
    "sklearn.linear_model",
]
AUDITED = 'kind = "cascade"\nmu = 0.001\naudit = 0.1'


def _state(out: Path) -> tuple[dict[str, bytes], dict[str, object]]:
    """All that a checkpoint holds, but for seconds."""
    with safe_open(out / "checkpoint.safetensors", framework="numpy") as file:
        arrays = {name: file.get_tensor(name).tobytes() for name in file.keys()}  # noqa: SIM118
        plain = msgspec.json.decode(file.metadata()["escalade.online"])
    del plain["seconds"]
    for tally in (plain["tally"], plain["told"]):
        del tally["expert"]["seconds"]
        for level in tally["levels"]:
            del level["seconds"], level["learning_seconds"]
    return arrays, plain


def _same(one: Path, other: Path) -> None:
    for name in ("answers.jsonl", "events.jsonl"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    for mine, others in zip(_state(one), _state(other), strict=True):
        assert mine == others


def _said(journal: Path) -> list[dict[str, object]]:
    """What the expert said, but for seconds."""
    entries = [msgspec.json.decode(line) for line in journal.read_bytes().splitlines()]
    return [{key: entry[key] for key in entry if key != "seconds"} for entry in entries]


def _dies(path: Path, data: Path, out: Path, most_calls: int) -> bool:
    """Whether a process that goes on with a run is killed before the end."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    process = context.Process(target=learn_until_killed, args=(path, data, out, most_calls))
    process.start()
    process.join()
    assert process.exitcode in {0, -SIGKILL}
    return process.exitcode != 0


@pytest.mark.parametrize(
    ("kind", "items"), [("linear", 700), pytest.param("encoder", 120, marks=pytest.mark.slow)]
)
def test_killed_at_random_points_it_comes_to_the_same_end(
    tmp_path: Path, kind: str, items: int
) -> None:
    data = write(tmp_path / "items.jsonl", rows(items))
    levels = {} if kind == "linear" else {"levels": encoder_above(encoder_folder(tmp_path / "e"))}
    path = configuration(
        tmp_path, method=AUDITED, **levels, more="[run]\ncheckpoint_s = 0.1\nreport_items = 40"
    )
    whole, out = tmp_path / "whole" / "out", tmp_path / "cut" / "out"
    for folder in (whole, out):
        folder.parent.mkdir()
    assert not _dies(path, data, whole, sys.maxsize)
    calls = int((whole.parent / "calls.txt").read_text())
    # What begins again makes so many before it comes to anything new.
    again = Path(shutil.copytree(whole.parent, tmp_path / "again")) / "out"
    assert not _dies(path, data, again, sys.maxsize)
    opening = int((again.parent / "calls.txt").read_text())
    draw, kills = random.Random(4), 0
    while _dies(path, data, out, draw.randrange(opening // 2, opening + (calls - opening) // 2)):
        kills += 1
    assert kills >= 3
    _same(whole, out)
    levels_of = [
        {one.relative_to(run): one.read_bytes() for one in (run / "levels").rglob("*.*")}
        for run in (whole, out)
    ]
    assert levels_of[0] == levels_of[1]
    assert not list(out.glob(".*"))  # what was half written aside
    # What was asked and kept was not asked again: at most once more for each kill.
    ours, others = (_said(run / "expert.jsonl") for run in (whole, out))
    assert ours == others
    asked = (out.parent / "asked.txt").read_text().splitlines()
    assert len(ours) <= len(asked) <= len(ours) + kills


def test_a_stream_that_has_grown_goes_on(tmp_path: Path) -> None:
    made = rows(1000)
    path = configuration(tmp_path, method=AUDITED)
    whole, out = tmp_path / "whole", tmp_path / "out"
    data = write(tmp_path / "items.jsonl", made)
    wanted = read_configuration(path)
    learn_stream(wanted, data, whole)
    for upto in (0, 155, 600, 1000):  # in the middle of a cache too
        result = learn_stream(wanted, write(tmp_path / "growing.jsonl", made[:upto]), out)
        assert result.tally.items == upto
    assert (whole / "answers.jsonl").read_bytes() == (out / "answers.jsonl").read_bytes()
    assert _state(whole)[0] == _state(out)[0]


def test_another_configuration_is_refused_and_how_to_run_is_not(tmp_path: Path) -> None:
    data = write(tmp_path / "items.jsonl", rows(40))
    learn_stream(read_configuration(configuration(tmp_path)), data, tmp_path / "out")
    other = configuration(tmp_path, method='kind = "cascade"\nmu = 0.5')
    with pytest.raises(RecipeError, match=r"begun with method\.mu = 0\.001, .* go on with 0\.5"):
        learn_stream(read_configuration(other), data, tmp_path / "out")
    more = '[[level]]\nkind = "linear"\nname = "third"'
    with pytest.raises(RecipeError, match=r"with the number of level = 2, .* go on with 3; go on"):
        learn_stream(read_configuration(configuration(tmp_path, more=more)), data, tmp_path / "out")
    other = configuration(tmp_path, more="[run]\nreport_items = 7")
    learn_stream(read_configuration(other), data, tmp_path / "out")


def test_what_was_cut_off_before_its_first_figures_goes_on_with_the_same_alone(
    tmp_path: Path,
) -> None:
    data, out, asked = write(tmp_path / "items.jsonl", rows(40)), tmp_path / "out", list[str]()

    def expert(text: str) -> str:
        asked.append(text)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return "red"

    wanted = read_configuration(configuration(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        learn_stream(wanted, data, out, expert=CallableExpert(expert))
    # What the expert has said until then was said of that configuration.
    other = read_configuration(configuration(tmp_path, method='kind = "expert"'))
    with pytest.raises(RecipeError, match=r"begun with method\.kind = 'cascade'"):
        learn_stream(other, data, out, expert=CallableExpert(expert))
    result = learn_stream(wanted, data, out, expert=CallableExpert(expert))
    assert result.tally.items == 40
    assert len(asked) == len(set(asked)) + 1  # the third, which had said nothing


def test_a_checkpoint_of_another_version_is_refused(tmp_path: Path) -> None:
    data, out = write(tmp_path / "items.jsonl", rows(40)), tmp_path / "out"
    learn_stream(read_configuration(configuration(tmp_path)), data, out)
    path = out / "checkpoint.safetensors"
    with safe_open(path, framework="numpy") as file:
        plain = msgspec.json.decode(file.metadata()["escalade.online"])
    found = read_checkpoint(path, plain["configuration"])
    assert found is not None
    checkpoint, arrays = found
    del arrays[next(name for name in arrays if "updates" in name)]
    write_checkpoint(path, checkpoint, arrays)
    with pytest.raises(DataError, match="lacks .*updates.*: written by another version"):
        learn_stream(read_configuration(configuration(tmp_path)), data, out)


@pytest.mark.parametrize("changed", [rows(40, seed=2), rows(30)])
def test_another_stream_is_refused(tmp_path: Path, changed: list[dict[str, object]]) -> None:
    wanted = read_configuration(configuration(tmp_path))
    data = write(tmp_path / "items.jsonl", rows(40))
    learn_stream(wanted, data, tmp_path / "out")
    before = (tmp_path / "out" / "answers.jsonl").read_bytes()
    with pytest.raises(DataError, match="the first 40 items are not those"):
        learn_stream(wanted, write(data, changed), tmp_path / "out")
    assert (tmp_path / "out" / "answers.jsonl").read_bytes() == before


def test_a_full_disk_is_said_and_the_run_goes_on_once_there_is_room(tmp_path: Path) -> None:
    data = write(tmp_path / "items.jsonl", rows(600))
    wanted = read_configuration(configuration(tmp_path, method=AUDITED))
    learn_stream(wanted, data, tmp_path / "whole")
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A limit on a file's size stands for the full disk: the first part of a write succeeds.
    for most in (5000, 20_000, 60_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, old[1]))
        try:
            with pytest.raises(DataError, match="cannot be written: File too large"):
                learn_stream(wanted, data, tmp_path / "out")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, old)
    learn_stream(wanted, data, tmp_path / "out")
    _same(tmp_path / "whole", tmp_path / "out")


def test_a_folder_is_one_runs_alone(tmp_path: Path) -> None:
    wanted = read_configuration(configuration(tmp_path))
    data = write(tmp_path / "items.jsonl", rows(10))
    out = tmp_path / "out"
    out.mkdir()
    with exclusive_lock(out), pytest.raises(DataError, match="is in use"):
        learn_stream(wanted, data, out)
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match=r"holds thesis\.tex"):
        learn_stream(wanted, data, out)


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize(
    ("named", "levels", "says"),
    [
        ("nowhere.jsonl", {}, "nowhere.jsonl: cannot be read"),
        ("items.parquet", {}, "items.parquet: no parquet"),
        ("bare.jsonl", {}, "none of the first 100 rows has 'said'"),
        ("items.jsonl", {"levels": encoder_above(Path("no-encoder"))}, "no-encoder"),
    ],
)
def test_what_fails_before_the_first_item_leaves_nothing(
    tmp_path: Path, named: str, levels: dict[str, str], says: str, *, there: bool
) -> None:
    write(tmp_path / "items.jsonl", rows(10))
    write(tmp_path / "items.parquet", rows(10))
    write(tmp_path / "bare.jsonl", [{"text": "", "gold": 1}] * 100)
    out = tmp_path / "out"
    if there:
        out.mkdir()
    wanted = read_configuration(configuration(tmp_path, **levels))
    with pytest.raises((DataError, RecipeError), match=says):
        learn_stream(wanted, tmp_path / named, out)
    assert out.exists() == there
    assert not there or not list(out.iterdir())


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    wanted = read_configuration(configuration(tmp_path))
    data, out = write(tmp_path / "items.jsonl", rows(10)), tmp_path / "out"
    learn_stream(wanted, data, out)
    path = out / "checkpoint.safetensors"
    whole = path.read_bytes()
    header = int.from_bytes(whole[:8], "little")
    # A digit of what it counted; and one bit of what was learned.
    counted = whole.replace(rb"\"items\":10", rb"\"items\":11", 1)
    learned = bytes([*whole[: 8 + header + 5], whole[8 + header + 5] ^ 1, *whole[14 + header :]])
    assert len({whole, counted, learned}) == 3
    for content, says in (
        (b"not safe", "cannot be read"),
        (counted, "was changed since it was written"),
        (learned, "was changed since it was written"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=says):
            learn_stream(wanted, data, out)
    path.write_bytes(whole)
    assert learn_stream(wanted, data, out).tally.items == 10


def test_an_encoder_may_move_and_must_stay_the_same(tmp_path: Path) -> None:
    data, out = write(tmp_path / "items.jsonl", rows(30)), tmp_path / "out"
    first = encoder_folder(tmp_path / "first")
    path = configuration(tmp_path, levels=encoder_above(first))
    learn_stream(read_configuration(path), write(data, rows(20)), out)
    shutil.move(first, tmp_path / "moved")
    write(data, rows(30))
    moved = configuration(tmp_path, levels=encoder_above(tmp_path / "moved"))
    assert learn_stream(read_configuration(moved), data, out).tally.items == 30
    other = encoder_folder(tmp_path / "other", train=True)
    path = configuration(tmp_path, levels=encoder_above(other))
    with pytest.raises(RecipeError, match="the run was begun with weights"):
        learn_stream(read_configuration(path), data, out)


def test_the_levels_are_written_as_they_were_at_the_end(tmp_path: Path) -> None:
    wanted = read_configuration(configuration(tmp_path))
    learn_stream(wanted, write(tmp_path / "items.jsonl", rows(200)), tmp_path / "out")
    rows_of = np.load(tmp_path / "out" / "levels" / "small" / "linear.npy", allow_pickle=False)
    assert rows_of["weights"].shape[1] == 3
    assert np.isfinite(rows_of["weights"]).all()
