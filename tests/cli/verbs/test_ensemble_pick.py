"""`escalade ensemble pick` as a user meets it: from models, from a trace, and what is refused."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import msgspec
import pytest

from escalade.edge import Artifact, EdgeClient, OpenOptions
from escalade.edge.artifact import read_manifest, write_manifest
from escalade.edge.cascade_file import member_tables, read_cascade_file
from escalade.edge.trace import read_trace

Invoke = Callable[..., tuple[int, str, str]]
QUERIES = 16


@pytest.fixture(scope="session")
def zoo(
    tiny_model_dir: Path, other_model_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Two models in two precisions each, and queries that now one, now the other is right on."""
    from escalade.export.artifact.artifact import export_artifact

    folder = tmp_path_factory.mktemp("zoo")
    for name, model, scheme in (
        ("tiny", tiny_model_dir, "none"),
        ("tiny8", tiny_model_dir, "int8"),
        ("other", other_model_dir, "none"),
        ("other8", other_model_dir, "int8"),
    ):
        export_artifact(
            model,
            folder / name,
            quantize=scheme,  # type: ignore[arg-type]
            golden_prompts=["g2p: a"],
            max_new_tokens=9,
        )
    artifacts = [Artifact.open(folder / name) for name in ("tiny", "other8", "other")]
    for name, first in (("valid", 0), ("test", QUERIES)):
        lines = []
        for k in range(first, first + QUERIES):
            prompt = f"g2p: {'abcdefgh'[k % 8]}{k}"
            artifact = artifacts[k % 3]
            text = artifact.text_of(artifact.generate(artifact.encode(prompt)))
            lines.append(
                json.dumps({"id": f"q{k}", "task": "g2p", "prompt": prompt, "references": [text]})
            )
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "zoo.toml").write_text(
        'currency = "EUR"\n[[tiers]]\nmembers = [\n'
        + "".join(
            f'{{ artifact = "{name}", generated_price = {price} }},\n'
            for name, price in (("tiny", 1.0), ("other", 2.0), ("other8", 4.0))
        )
        + "]\n"
    )
    return folder


@pytest.fixture
def pick(invoke: Invoke, zoo: Path) -> Callable[..., Any]:
    """What `escalade ensemble pick ARGUMENTS --json` says, in the folder of the zoo."""

    def pick(*arguments: object) -> Any:
        code, out, err = invoke("ensemble", "pick", *arguments, "--json")
        assert code == 0, err
        return json.loads(out)

    return pick


def test_the_best_in_the_budget_is_picked_measured_and_written(
    pick: Callable[..., Any], zoo: Path, tmp_path: Path
) -> None:
    models = [zoo / name for name in ("tiny", "other", "tiny8")]
    out = tmp_path / "sub" / "cascade.toml"
    out.parent.mkdir()
    found = pick(*models, "--data", zoo / "valid.jsonl", "--out", out)
    assert found["search"] == "exhaustive"
    assert found["tried"] == sum(len(list(permutations(models, size))) for size in (1, 2, 3))
    assert (found["validation_queries"], found["held_out_queries"]) == (8, 8)
    assert len(found["models"]) == len(found["pairs"]) == 3
    content = read_cascade_file(out)
    named = [one.artifact for one in member_tables(content.tiers[0])]
    assert not any(Path(one).is_absolute() for one in named)
    assert [(out.parent / one).resolve() for one in named] == [
        models[place].resolve() for place in found["order"]
    ]
    with EdgeClient.open(out, OpenOptions()) as client:
        assert client.ask("g2p: a").text


def test_the_agreement_and_the_weights_that_picked_are_written(
    pick: Callable[..., Any], zoo: Path, tmp_path: Path
) -> None:
    models, out = [zoo / name for name in ("tiny", "other", "tiny8")], tmp_path / "cascade.toml"
    rule = ("--agreement", "similarity:edit", "--weighted", "--least", "3")
    found = pick(*models, "--data", zoo / "valid.jsonl", *rule, "--out", out)
    assert found["agreement"] == "similarity:edit"
    # How often each is right on the 8 queries of the choice, and none is nothing.
    right = {one["name"]: round(8 * one["validated"]) for one in found["models"]}
    shares = [float(f"{(right[name] + 1) / 10:.4g}") for name in found["members"]]
    assert found["weights"] == shares
    (tier,) = read_cascade_file(out).tiers
    weights = [one.weight for one in member_tables(tier)]
    assert weights == shares
    assert len(set(weights)) > 1
    assert tier.gate is not None
    assert tier.gate.rule == "similarity:edit"
    with EdgeClient.open(out, OpenOptions()) as client:
        answer = client.ask("g2p: a")
    assert answer.score is not None
    # By mean-score whoever wins the vote wins, and the same are picked.
    by_mean, by_vote = (
        pick(*models, "--data", zoo / "valid.jsonl", "--agreement", one)
        for one in ("mean-score", "vote")
    )
    assert by_mean | {"agreement": "vote"} == by_vote


@pytest.mark.parametrize("agreement", ["vote", "mean-score", "similarity:edit"])
def test_the_device_asks_as_many_as_the_choice_was_measured_with(
    pick: Callable[..., Any], zoo: Path, tmp_path: Path, agreement: str
) -> None:
    """What is written is an only tier, with a gate for its rule where that is not the vote."""
    models, out = [zoo / name for name in ("tiny", "other8", "other")], tmp_path / "cascade.toml"
    arguments = ("--data", zoo / "valid.jsonl", "--test", zoo / "test.jsonl", "--least", 3)
    found = pick(*models, *arguments, "--agreement", agreement, "--out", out)
    prompts = [json.loads(line)["prompt"] for line in (zoo / "test.jsonl").read_text().splitlines()]
    with EdgeClient.open(out, OpenOptions()) as client:
        asked = [len(client.ask(prompt).said.members) for prompt in prompts]
    assert found["voted"]["asked"] == sum(asked) / len(asked)
    assert min(asked) < 3


def test_a_trace_that_is_there_gives_the_same_as_asking_again(
    pick: Callable[..., Any], invoke: Invoke, zoo: Path, tmp_path: Path
) -> None:
    trace = tmp_path / "trace.jsonl"
    code, _, err = invoke("record", zoo / "zoo.toml", "--data", zoo / "valid.jsonl", "--out", trace)
    assert code == 0, err
    header = read_trace(trace).header
    assert [len(tier.members) for tier in header.tiers] == [3]
    names = ("tiny", "other", "other8")
    for cost in ("flops", "money"):
        arguments = ("--cost", cost, "--side-by-side")
        asked = pick(zoo / "zoo.toml", "--data", zoo / "valid.jsonl", *arguments)
        assert pick(zoo / "zoo.toml", "--trace", trace, *arguments) == asked
        # The folders alone do as well: who answered, and at which price, stands in the trace.
        again = pick(*(zoo / name for name in names), "--trace", trace, *arguments)
        assert again == asked
        assert asked["unit"] == {"flops": "FLOPs", "money": "EUR"}[cost]


def test_of_more_than_were_wanted_a_trace_gives_those_named(
    pick: Callable[..., Any], invoke: Invoke, zoo: Path, tmp_path: Path
) -> None:
    trace = tmp_path / "trace.jsonl"
    invoke("record", zoo / "zoo.toml", "--data", zoo / "valid.jsonl", "--out", trace)
    found = pick(zoo / "other8", zoo / "tiny", "--trace", trace, "--cost", "seconds")
    assert [one["name"] for one in found["models"]] == [
        read_manifest(zoo / "other8").model.name,
        read_manifest(zoo / "tiny").model.name,
    ]
    assert found["unit"] == "s"


def test_prices_that_are_given_hold_and_are_written(
    pick: Callable[..., Any], zoo: Path, tmp_path: Path
) -> None:
    out = tmp_path / "cascade.toml"
    name = read_manifest(zoo / "tiny").model.name
    found = pick(
        *(zoo / "zoo.toml", "--data", zoo / "valid.jsonl", "--out", out),
        *("--cost", "money", "--price", f"{name}=3,5", "--least", 3),
    )
    assert sorted(found["order"]) == [0, 1, 2]
    content = read_cascade_file(out)
    prices = [(one.prompt_price, one.generated_price) for one in member_tables(content.tiers[0])]
    named = [read_manifest(zoo / folder).model.name for folder in ("tiny", "other", "other8")]
    of_file = {0: (0.0, 1.0), 1: (0.0, 2.0), 2: (0.0, 4.0)}
    wanted = [(3.0, 5.0) if named[k] == name else of_file[k] for k in found["order"]]
    assert (content.currency, prices) == ("EUR", wanted)


def test_a_test_file_is_what_is_measured_on(pick: Callable[..., Any], zoo: Path) -> None:
    models = [zoo / "tiny", zoo / "other"]
    found = pick(*models, "--data", zoo / "valid.jsonl", "--test", zoo / "test.jsonl")
    assert (found["validation_queries"], found["held_out_queries"]) == (QUERIES, QUERIES)


def test_people_are_told_what_was_searched_and_what_it_is_worth(invoke: Invoke, zoo: Path) -> None:
    code, out, err = invoke(
        "ensemble", "pick", zoo / "tiny", zoo / "other", "--data", zoo / "valid.jsonl"
    )
    assert code == 0, err
    for words in (
        "picked: ",
        "exhaustive: the best of all 4 ordered subsets; no budget",
        "held out (8 queries): ",
        "the best alone where that was chosen: ",
        "any right of all models given: ",
        "Each model alone, on held-out queries",
    ):
        assert words in out


@pytest.fixture
def renamed(zoo: Path, tmp_path: Path) -> Path:
    """The first model under another name and threshold."""
    folder = Path(shutil.copytree(zoo / "tiny", tmp_path / "renamed"))
    manifest = read_manifest(folder)
    model = msgspec.structs.replace(manifest.model, name="renamed")
    deferral = msgspec.structs.replace(manifest.deferral, threshold=0.3)
    write_manifest(folder, msgspec.structs.replace(manifest, model=model, deferral=deferral))
    return folder


@pytest.fixture
def shorter(zoo: Path, tmp_path: Path) -> Path:
    """One whose answers are cut elsewhere."""
    folder = Path(shutil.copytree(zoo / "other", tmp_path / "shorter"))
    manifest = read_manifest(folder)
    model = msgspec.structs.replace(manifest.model, max_new_tokens=5)
    write_manifest(folder, msgspec.structs.replace(manifest, model=model))
    return folder


DATA = ["--data", "{zoo}/valid.jsonl"]
TWO = ["{zoo}/tiny", "{zoo}/other"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (TWO, "give --data or --trace, one of them"),
        ([*TWO, *DATA, "--trace", "{zoo}/zoo.toml"], "give --data or --trace, one of them"),
        (["{zoo}/tiny", *DATA], "models to pick from must be at least 2, got 1"),
        (["{zoo}/tiny", "{renamed}", *DATA], "are the same model by content, which has one vote"),
        (["{zoo}/tiny", "{shorter}", *DATA], "cannot be compared with those of .*max_new_tokens"),
        (["{zoo}/tiny", "{zoo}/nowhere", *DATA], "nowhere"),
        ([*TWO, *DATA, "--budget", "1"], "budget must be at least .*FLOPs a query, .*got 1.00 FL"),
        ([*TWO, *DATA, "--budget", "0"], "budget must be above 0; got 0"),
        ([*TWO, *DATA, "--budget", "nan"], "budget must be above 0; got nan"),
        ([*TWO, *DATA, "--cost", "money"], "the price of .* is missing; every model needs one"),
        ([*TWO, *DATA, "--price", "nobody=1,1"], "member with a price must be one of .*nobody"),
        ([*TWO, *DATA, "--cost", "watts"], "watts"),
        (
            [*TWO, *DATA, "--agreement", "chrf"],
            "--agreement: rule of several members must be .*chr",
        ),
        (
            [*TWO, *DATA, "--seed", "-1"],
            "'--seed': Input should be greater than or equal to 0, got '-1'",
        ),
        ([*TWO, *DATA, "--max-memory", "1M"], "needs .* bytes of memory"),
        ([*TWO, *DATA, "--limit", "1"], "held-out queries must be at least 1; got 0"),
        ([*TWO, "--trace", "{zoo}/valid.jsonl"], "valid.jsonl"),
        ([*TWO, *DATA, "--test", "{zoo}/valid.jsonl"], "16 of its 16 queries are among those that"),
        ([*TWO, *DATA, "--least", "3"], r"least must be in \[1, 2\], of 2 models; got 3"),
        ([*TWO, *DATA, "--out", "{zoo}"], "zoo"),
    ],
)
def test_what_cannot_be_picked_from_is_refused_in_one_line(
    invoke: Invoke, zoo: Path, renamed: Path, shorter: Path, arguments: list[str], says: str
) -> None:
    import re

    filled = [one.format(zoo=zoo, renamed=renamed, shorter=shorter) for one in arguments]
    code, out, err = invoke("ensemble", "pick", *filled)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert re.search(says, line), line


def test_a_trace_of_other_models_is_refused(invoke: Invoke, zoo: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    invoke("record", zoo / "zoo.toml", "--data", zoo / "valid.jsonl", "--out", trace)
    code, _, err = invoke("ensemble", "pick", zoo / "tiny8", zoo / "other", "--trace", trace)
    assert code == 2
    assert "is no member of the trace, which has " in err


def test_files_in_two_currencies_are_refused(invoke: Invoke, zoo: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(f'[[tiers]]\nmembers = ["{zoo / "tiny8"}"]\n')
    code, _, err = invoke(
        "ensemble", "pick", zoo / "zoo.toml", other, "--data", zoo / "valid.jsonl"
    )
    assert code == 2
    assert "counts in EUR and" in err


def test_without_tomlkit_it_is_said_before_the_work(
    invoke: Invoke, zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tomlkit", None)
    out = tmp_path / "cascade.toml"
    code, _, err = invoke(
        "ensemble",
        "pick",
        *(zoo / name for name in ("tiny", "other")),
        "--trace",
        tmp_path / "trace.jsonl",
        "--out",
        out,
    )
    assert code == 2
    assert "ensemble needs tomlkit: pip install 'escalade[calibration]'" in err


def test_one_model_alone_is_nothing_to_record(invoke: Invoke, zoo: Path, tmp_path: Path) -> None:
    code, _, err = invoke(
        "record", zoo / "tiny", "--data", zoo / "valid.jsonl", "--out", tmp_path / "trace.jsonl"
    )
    assert code == 2
    assert "a trace to replay needs 2 tiers or more, or members that vote" in err
