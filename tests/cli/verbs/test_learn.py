"""`escalade learn`: what it prints, what it leaves, what it refuses, and whom it asks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from made_streams import LABELS, configuration, rows, write
from scripted import good_reply, scripted

from escalade.export.linear import export_linear_folder
from escalade.v1 import cascade_pb2 as pb

Invoke = Callable[..., tuple[int, str, str]]


def test_a_stream_is_answered_and_its_levels_become_artifacts(
    tmp_path: Path, invoke: Invoke
) -> None:
    data, out = write(tmp_path / "items.jsonl", [*rows(600), {"text": ""}]), tmp_path / "out"
    code, said, err = invoke("learn", configuration(tmp_path), data, out)
    assert (code, err) == (0, "")
    assert "601 items" in said
    assert "refused, empty text: 1" in said
    result = json.loads((out / "result.json").read_text())
    assert result["measured"]["items"] == 600
    assert f"right: {result['measured']['accuracy']:.2%} of 600" in said
    artifact = tmp_path / "artifact"
    export_linear_folder(out / "levels" / "large", artifact)
    assert invoke("ask", artifact, "sky sea ink sky")[:2] == (0, "blue\n")
    # Again, it has nothing left to do.
    answers = (out / "answers.jsonl").read_bytes()
    assert invoke("learn", configuration(tmp_path), data, out)[0] == 0
    assert (out / "answers.jsonl").read_bytes() == answers


def test_a_class_that_no_item_has_is_said_to_be_unknown(tmp_path: Path, invoke: Invoke) -> None:
    path = configuration(tmp_path)
    path.write_text(path.read_text().replace('label = "gold"', 'label = "golden"'))
    data = write(tmp_path / "items.jsonl", rows(20))
    code, said, _ = invoke("learn", path, data, tmp_path / "out")
    assert code == 0
    assert "right: unknown, no item that was answered has a class in 'golden'" in said


def test_events_are_lines_of_json_and_items_may_come_through_a_pipe(tmp_path: Path) -> None:
    data, out = write(tmp_path / "items.jsonl", rows(250)), tmp_path / "out"
    command = [sys.executable, "-m", "escalade.cli", "learn", configuration(tmp_path), "-", out]
    with data.open() as items:
        done = subprocess.run(
            [*map(str, command), "--json"],
            stdin=items,
            capture_output=True,
            check=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["items"] for event in events] == [100, 200, 250]
    assert sum(sum(event["by"].values()) for event in events) == 250
    assert done.stdout == (out / "events.jsonl").read_bytes()


def test_an_expert_behind_the_wire_teaches_and_is_told_of_when_it_changes(
    tmp_path: Path, invoke: Invoke
) -> None:
    made = rows(300)
    said = {str(row["text"]): str(row["said"]) for row in made}

    def reply(request: pb.GenerateRequest, context: object) -> pb.GenerateResponse:
        answer = good_reply(request, context)  # type: ignore[arg-type]  # it looks at none
        answer.text = f"It is {said[request.prompt.text.removeprefix('Colour of: ')]}."
        answer.model.name = "first" if len(cloud.asked) <= 100 else "second"
        return answer

    with scripted() as cloud:
        cloud.replies = [reply]
        path = configuration(tmp_path)
        server = f'kind = "server"\naddress = "{cloud.address}"\nprompt = "Colour of: {{text}}"'
        path.write_text(path.read_text().replace('kind = "column"\ncolumn = "said"', server))
        out = tmp_path / "out"
        code, _, err = invoke("learn", path, write(tmp_path / "items.jsonl", made), out)
    assert code == 0
    assert "item 101: first answered before, second now" in err
    result = json.loads((out / "result.json").read_text())
    expert = result["tally"]["expert"]
    assert expert["calls"] == len(cloud.asked) == expert["answered"]
    assert (expert["changes"], expert["tokens"]) == (1, 7 * expert["calls"])
    assert result["tally"]["levels"][0]["updates"] >= 20


def test_a_server_that_is_not_there_degrades_every_item(tmp_path: Path, invoke: Invoke) -> None:
    path = configuration(tmp_path)
    server = 'kind = "server"\naddress = "127.0.0.1:1"\ndeadline_s = 0.05'
    path.write_text(path.read_text().replace('kind = "column"\ncolumn = "said"', server))
    code, said, err = invoke(
        "learn", path, write(tmp_path / "items.jsonl", rows(8)), tmp_path / "o"
    )
    assert code == 0
    assert "degraded, the expert did not answer: 8" in said
    (line,) = err.splitlines()
    assert line.startswith("item 1: ")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('name = "small"', 'name = "expert"', "level names must differ"),
        ('name = "small"', 'name = "a b"', "level.name must be of letters, digits, - and _"),
        ("decay = 0.8", "decay = 1.5", "decay must be in [0, 1], got 1.5"),
        ("decay = 0.8", "decays = 0.8", "did you mean 'decay'?"),
        ('kind = "cascade"', 'kind = "cascades"', "cascades"),
        (json.dumps(LABELS), '["red"]', "labels"),
        (json.dumps(LABELS), '["red", "Red!"]', "cannot be told apart"),
        ("mu = 0.001", "mu = -1.0", "mu must be"),
        (
            'kind = "cascade"\nmu = 0.001',
            'kind = "ensemble"\nprobabilities = [0.5, 0.4, 0.3]',
            "method.probabilities must sum to 1, got 1.2",
        ),
        (
            'kind = "cascade"\nmu = 0.001',
            'kind = "distilled"\nlevel = "tiny"\ntrain = 5',
            "method.level must be a level's name, got 'tiny'",
        ),
    ],
)
def test_what_a_configuration_may_not_say_is_one_line(
    tmp_path: Path, invoke: Invoke, old: str, new: str, says: str
) -> None:
    path = configuration(tmp_path)
    path.write_text(path.read_text().replace(old, new, 1))
    data = write(tmp_path / "items.jsonl", rows(3))
    code, said, err = invoke("learn", path, data, tmp_path / "out")
    assert (code, said) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert says in line
    assert not (tmp_path / "out" / "answers.jsonl").exists()


def test_paths_that_do_not_fit_are_one_line(tmp_path: Path, invoke: Invoke) -> None:
    path = configuration(tmp_path)
    for paths, says in (
        (("a", "b", "c"), "give DATA and OUT, or OUT alone; got 3 paths"),
        ((tmp_path / "out",), "stream.path is missing, and no data is named"),
        ((tmp_path / "none.jsonl", tmp_path / "out"), "none.jsonl: cannot be read"),
    ):
        code, _, err = invoke("learn", path, *paths)
        assert code == 2
        (line,) = err.splitlines()
        assert says in line
