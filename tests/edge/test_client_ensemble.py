"""An ensemble's queries: what the members agree on stays, what they do not is deferred."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from escalade.edge.artifact.manifest import read_manifest, write_manifest
from escalade.edge.ensemble_client import EnsembleClient
from escalade.edge.errors import PromptError
from escalade.edge.generation.artifact import Artifact
from escalade.edge.tiers.ensemble import Ensemble
from escalade.edge.wire.cloud import CloudClient

PROMPT = "g2p: cascade"
Make = Callable[..., EnsembleClient]


@pytest.fixture(scope="module")
def members(float_artifact: Path, other_model_dir: Path, tmp_path_factory: Any) -> list[Artifact]:
    """Two that always agree and one that does not."""
    from escalade.export.artifact import export_artifact

    out = tmp_path_factory.mktemp("ensemble") / "other"
    export_artifact(other_model_dir, out, golden_prompts=[PROMPT])
    again = Path(shutil.copytree(float_artifact, out.with_name("again")))
    manifest = read_manifest(again)
    write_manifest(again, msgspec.structs.replace(manifest, created="later"))
    return [Artifact.open(float_artifact), Artifact.open(again), Artifact.open(out)]


@pytest.fixture
def make(members: list[Artifact], scripted_cloud: Any, jumping_clock: Any) -> Iterator[Make]:
    made: list[EnsembleClient] = []

    def make(
        threshold: float,
        *,
        cloud: bool = True,
        order: tuple[int, ...] = (0, 1, 2),
        **options: Any,
    ) -> EnsembleClient:
        channel = CloudClient(scripted_cloud.address, clock=jumping_clock) if cloud else None
        ensemble = Ensemble([members[index] for index in order], threshold)
        made.append(EnsembleClient(ensemble, cloud=channel, clock=jumping_clock, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


def test_what_most_members_say_stays_on_the_device(
    make: Make, members: list[Artifact], scripted_cloud: Any
) -> None:
    answer = make(0.5).ask(PROMPT)
    ids = members[0].encode(PROMPT)
    steps = members[0].generate(ids)
    assert (answer.outcome, answer.large, answer.would_defer) == ("answered", None, False)
    assert answer.votes == {answer.text: 2}  # the third could change nothing
    assert answer.small.logprobs == [step.logprob for step in steps]
    assert answer.small.generated_tokens == 2 * len(steps)
    assert answer.small.prompt_tokens == 2 * len(ids)
    assert answer.stop == ("end" if steps[-1].ended else "length")
    assert scripted_cloud.asked == []


def test_what_members_differ_on_is_deferred(
    make: Make, members: list[Artifact], scripted_cloud: Any
) -> None:
    answer = make(0.3).ask(PROMPT, references=["large answer"])
    assert (answer.outcome, answer.text) == ("deferred", "large answer")
    assert (answer.score, answer.threshold) == (pytest.approx(1 / 3), 0.3)
    assert answer.votes is not None
    assert list(answer.votes.values()) == [2, 1]
    assert answer.large is not None
    assert answer.large.correct is True
    assert answer.small.correct is False
    (request,) = scripted_cloud.asked
    assert list(request.prompt.tokens.ids) == members[0].encode(PROMPT)
    assert not request.HasField("draft")
    make(0.3, prompt_form="text").ask(PROMPT)
    assert scripted_cloud.asked[1].prompt.text == PROMPT


def test_a_silent_cloud_leaves_the_answer_of_most(make: Make, scripted_cloud: Any) -> None:
    def boom(request: Any, context: Any) -> Any:
        raise RuntimeError("boom")

    scripted_cloud.replies = [boom]
    answer = make(0.3).ask(PROMPT)
    alone = make(0.3, cloud=False).ask(PROMPT)
    assert (answer.outcome, alone.outcome) == ("degraded", "answered")
    assert answer.text == alone.text
    assert alone.would_defer
    assert answer.reason is not None


def test_without_a_large_model_the_whole_vote_decides(
    make: Make, members: list[Artifact], scripted_cloud: Any
) -> None:
    steps = members[0].generate(members[0].encode(PROMPT))
    most = members[0].decode([step.token_id for step in steps if not step.ended])
    # The odd one is asked first: after two members deferral is certain, the winner is not.
    odd_first = (2, 0, 1)
    deferred = make(1 / 3, order=odd_first).ask(PROMPT)
    assert deferred.outcome == "deferred"
    assert deferred.votes is not None
    assert list(deferred.votes.values()) == [1, 1]
    alone = make(1 / 3, order=odd_first, cloud=False).ask(PROMPT)
    assert (alone.text, alone.would_defer, alone.outcome) == (most, True, "answered")

    def boom(request: Any, context: Any) -> Any:
        raise RuntimeError("boom")

    scripted_cloud.replies = [boom]
    degraded = make(1 / 3, order=odd_first).ask(PROMPT)
    assert (degraded.text, degraded.outcome) == (most, "degraded")
    assert degraded.votes == alone.votes
    assert degraded.small.text == most
    assert degraded.small.generated_tokens == alone.small.generated_tokens


def test_a_prompt_that_does_not_fit_is_refused(make: Make) -> None:
    with pytest.raises(PromptError):
        make(0.3).ask("g2p: " + "a" * 500)
