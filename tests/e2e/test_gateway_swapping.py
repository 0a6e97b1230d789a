"""A gateway as a process of its own, asked all the while its store changes versions."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from classifiers import labelled, linear_artifact, with_threshold

from escalade.cli.demo.processes import running
from escalade.edge.generation import Artifact
from escalade.edge.store import Store, install
from escalade.edge.wire import CloudClient
from escalade.v1 import cascade_pb2 as pb

TEXTS = labelled(20, seed=7).texts
CLIENTS = 3

#: Text, log-probabilities, revision.
Said = tuple[str, tuple[float, ...], str]


def said_by(artifact: Path) -> dict[str, Said]:
    opened = Artifact.open(artifact)
    said = {}
    for text in TEXTS:
        (step,) = opened.generate(opened.encode(text))
        best = max(opened.classify(text).items(), key=lambda one: one[1])[0]
        # On the wire it is a float32.
        logprobs = (float(np.float32(step.logprob)),)
        said[text] = (best, logprobs, opened.manifest.model.revision)
    return said


@pytest.mark.parametrize("switches", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_no_call_fails_and_each_answer_is_one_of_the_two_versions(
    tmp_path: Path, switches: int
) -> None:
    one = with_threshold(linear_artifact(tmp_path / "one"))
    two = with_threshold(linear_artifact(tmp_path / "two", sgd=False))
    expected = [said_by(one), said_by(two)]
    assert expected[0] != expected[1]
    store = Store(tmp_path / "store")
    install(str(one), store.folder)
    path = tmp_path / "cascade.toml"
    path.write_text('[[tiers]]\nmembers = ["store/current"]\n')
    with (
        running("gateway", "gateway", str(path), "--listen", "127.0.0.1:0") as address,
        ThreadPoolExecutor(CLIENTS) as pool,
    ):
        done, answers = Event(), list[tuple[str, Said]]()
        clients = [CloudClient(address, deadline_s=60.0) for _ in range(CLIENTS)]
        asking = [pool.submit(ask_until, done.is_set, client, answers) for client in clients]
        try:
            revisions = [wait_for_another(address, "")]
            for switch in range(switches):
                if switch % 2:
                    store.rollback()
                else:
                    install(str(two), store.folder, allow_older=True)
                revisions.append(wait_for_another(address, revisions[-1]))
        finally:
            done.set()
        for future in asking:
            future.result()  # whatever failed is raised
        for client in clients:
            client.close()
    assert revisions == [revisions[0], revisions[1]] * (switches // 2) + [revisions[0]]
    assert revisions[0] != revisions[1]
    for text, answer in answers:
        assert answer in (expected[0][text], expected[1][text])
    by = {answer[2] for _, answer in answers}
    assert by == {one[TEXTS[0]][2] for one in expected}


def ask_until(
    done: Callable[[], bool], client: CloudClient, answers: list[tuple[str, Said]]
) -> None:
    while not done():
        for text in TEXTS:
            request = pb.GenerateRequest(
                prompt=pb.Prompt(text=text), output=pb.OutputOptions(logprobs=True)
            )
            answered = client.generate(request)
            assert answered is not None
            response = answered.response
            said = (response.text, tuple(response.logprobs), response.model.revision)
            answers.append((text, said))


def wait_for_another(address: str, revision: str) -> str:
    """The revision that is served, once it is not this one."""
    client = CloudClient(address, deadline_s=60.0)
    try:
        while (now := client.model_info().model.revision) == revision:
            pass
    finally:
        client.close()
    return now
