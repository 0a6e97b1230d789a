"""A gateway that begins with nothing but an expert, and learns while it serves: real processes."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from classifiers import LABELS, encoder_folder, labelled, linear_artifact

from escalade.cli.demo.processes import running
from escalade.edge.generation import Artifact
from escalade.edge.store import install
from escalade.edge.wire import CloudClient
from escalade.v1 import cascade_pb2 as pb


def endless(seed: int) -> Iterator[str]:
    """Texts for as long as a learner beside takes, however slow the machine is."""
    for number in itertools.count(seed):
        yield from labelled(1000, seed=number).texts


@pytest.fixture(scope="module")
def expert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return linear_artifact(tmp_path_factory.mktemp("expert") / "expert")


@pytest.fixture
def expert_address(expert: Path) -> Iterator[str]:
    path = expert.parent / "expert.toml"
    path.write_text('[[tiers]]\nmembers = ["expert"]\n')
    with running("expert", "gateway", str(path), "--listen", "127.0.0.1:0") as address:
        yield address


LINEAR = '[[level]]\nkind = "linear"\nname = "linear"\nbuckets = 4096\n'
ENCODER = (
    '[[level]]\nkind = "encoder"\nname = "encoder"\npath = "bert"\nmax_tokens = 24\n'
    "learning_rate = 3e-3\nhead_rate = 3e-3\n"
)


def files(folder: Path, address: str) -> tuple[Path, Path]:
    cascade, learn = folder / "cascade.toml", folder / "learn.toml"
    cascade.write_text(
        '[[tiers]]\nname = "linear"\nmembers = ["store/current"]\n\n'
        f'[[tiers]]\nname = "large"\naddress = "{address}"\nsend = "text"\n'
    )
    learn.write_text(
        f"labels = {json.dumps(LABELS)}\nshare = 0.3\nwindow = 200\nepsilon = 0.2\n"
        f"delta = 0.2\npublish_items = 64\n\n{LINEAR}"
    )
    return cascade, learn


def says(folder: Path, text: str) -> str:
    """The label that an artifact gives."""
    return max(Artifact.open(folder).classify(text).items(), key=lambda one: one[1])[0]


def ask(client: CloudClient, text: str) -> pb.GenerateResponse:
    answered = client.generate(pb.GenerateRequest(prompt=pb.Prompt(text=text)))
    assert answered is not None
    return answered.response


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def metrics(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as response:
        lines = response.read().decode().splitlines()
    found = [line.partition(" ") for line in lines if line.startswith("escalade_learning_")]
    return {name.removeprefix("escalade_learning_"): float(value) for name, _, value in found}


def until(port: int, holds: Callable[[dict[str, float]], bool]) -> dict[str, float]:
    """The figures, once they are so; the test's own limit ends this."""
    while not holds(now := metrics(port)):
        pass
    return now


def learners(learn: Path) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"escalade.cli.learning" in words and str(learn).encode() in words:
            found.append(int(folder.name))
    return found


@pytest.mark.slow  # it waits for a process that gives way to all others
def test_it_begins_with_the_expert_alone_and_keeps_more_and_more(
    expert: Path, expert_address: str, tmp_path: Path
) -> None:
    cascade, learn = files(tmp_path, expert_address)
    oracle = Artifact.open(expert)
    right = {
        text: max(oracle.classify(text).items(), key=lambda one: one[1])[0]
        for text in labelled(2000, seed=5).texts
    }
    port = free_port()
    options = ("--listen", "127.0.0.1:0", "--learn", str(learn))
    options += ("--metrics", f"127.0.0.1:{port}")
    with running("gateway", "gateway", str(cascade), *options) as address:
        client = CloudClient(address, deadline_s=60.0)
        texts = iter(right)
        first = [ask(client, next(texts)) for _ in range(10)]
        assert [len(answer.reports) for answer in first] == [2] * 10
        # Killed in the midst, it goes on where it was.
        until(port, lambda now: now["taken"] > 0)
        (process,) = learners(learn)
        assert os.getpriority(os.PRIO_PROCESS, process) > os.getpriority(os.PRIO_PROCESS, 0)
        os.kill(process, signal.SIGKILL)
        asked, kept = 10, list[tuple[str, str]]()
        for text in texts:
            answer = ask(client, text)
            asked += 1
            if len(answer.reports) == 1:
                kept.append((text, answer.text))
            else:
                assert answer.text == right[text]
            if len(kept) == 100:
                break
        now = until(port, lambda now: now["taken"] == now["entries"] and now["restarts"] > 0)
        client.close()
    assert len(kept) == 100
    assert (now["lost"], now["failures"]) == (0, 0)
    # Each query whose answer the expert gave, and some of the others.
    assert asked - len(kept) <= now["entries"] <= asked
    # The threshold certifies 0.2 of all; these are the first that were kept, of several versions.
    assert sum(said != right[text] for text, said in kept) <= 20
    assert learners(learn) == []


@pytest.mark.slow
def test_an_encoder_learns_between_a_linear_model_and_the_expert(
    expert_address: str, tmp_path: Path
) -> None:
    """The linear one sends what it is not sure of to the encoder, which answers some of it."""
    cascade, learn = files(tmp_path, expert_address)
    encoder_folder(tmp_path / "bert")
    tier = '[[tiers]]\nname = "encoder"\nmembers = ["encoders/current"]\n\n'
    above = cascade.read_text().index('[[tiers]]\nname = "large"')
    cascade.write_text(cascade.read_text()[:above] + tier + cascade.read_text()[above:])
    # The linear one is late: few of its buckets tell the classes apart.
    settings = learn.read_text().replace("4096", "16").replace("= 64", "= 256") + ENCODER
    learn.write_text(settings)
    port = free_port()
    options = ("--listen", "127.0.0.1:0", "--learn", str(learn))
    options += ("--metrics", f"127.0.0.1:{port}")
    with running("gateway", "gateway", str(cascade), *options) as address:
        client = CloudClient(address, deadline_s=60.0)
        kept = [0, 0, 0]
        for text in endless(6):
            answer = ask(client, text)
            passed = answer.reports[:-1]
            assert [one.tier for one in passed] == ["linear", "encoder"][: len(passed)]
            kept[len(passed)] += 1
            # Each was asked by a gate's own threshold.
            assert all(one.score >= one.threshold for one in passed)
            if kept[1] == 50:
                break
        client.close()
        now = metrics(port)
    assert kept[1] == 50
    assert (now["lost"], now["failures"], now["restarts"]) == (0, 0, 0)
    assert (tmp_path / "encoders" / "current" / "model.onnx").is_file()


@pytest.mark.slow
def test_a_shift_of_what_the_expert_says_sets_the_alarm_off_and_is_learned(
    tmp_path: Path,
) -> None:
    """The expert of a sudden calls each class by another's name."""
    other = linear_artifact(tmp_path / "other", labels=[*LABELS[1:], LABELS[0]])
    install(str(linear_artifact(tmp_path / "first")), tmp_path / "experts")
    (tmp_path / "expert.toml").write_text('[[tiers]]\nmembers = ["experts/current"]\n')
    port = free_port()
    listen, texts = ("--listen", "127.0.0.1:0"), endless(8)
    with running("expert", "gateway", str(tmp_path / "expert.toml"), *listen) as expert:
        cascade, learn = files(tmp_path, expert)
        options = ("--learn", str(learn), "--metrics", f"127.0.0.1:{port}")
        with running("gateway", "gateway", str(cascade), *listen, *options) as address:
            client, asked = CloudClient(address, deadline_s=60.0), CloudClient(expert)

            def kept() -> bool:
                return len(ask(client, next(texts)).reports) == 1

            while sum(kept() for _ in range(50)) < 35:
                pass
            before = metrics(port)
            assert before["alarms"] == 0
            revision = asked.model_info().model.revision
            install(str(other), tmp_path / "experts", allow_older=True)
            while asked.model_info().model.revision == revision:
                pass
            while metrics(port)["alarms"] == 0:
                kept()
            # At once, however far the learner is.
            assert not any(kept() for _ in range(20))
            while sum(kept() for _ in range(50)) < 35:
                pass
            right = wrong = 0
            for text in (next(texts) for _ in range(100)):
                answer = ask(client, text)
                if len(answer.reports) == 1:
                    agrees = answer.text == says(other, text)
                    right, wrong = right + agrees, wrong + (not agrees)
            assert right > wrong
            now = metrics(port)
            assert now["agreement_low"] <= now["agreement"] <= now["agreement_high"]
            assert now["agreement_high"] < 1.0
            client.close()
            asked.close()


@pytest.mark.slow
def test_a_gateway_that_is_killed_takes_its_learner_along_and_may_be_started_again(
    tmp_path: Path,
) -> None:
    cascade, learn = files(tmp_path, "127.0.0.1:1")
    cascade.write_text(cascade.read_text().replace("send =", "deadline_s = 0.2\nsend ="))
    arguments = ("gateway", str(cascade), "--listen", "127.0.0.1:0", "--learn", str(learn))
    for _ in range(2):
        with running("gateway", *arguments):
            while not (found := learners(learn)):
                pass
            (process,) = found
            status = Path(f"/proc/{process}/status").read_text()
            os.kill(int(status.partition("PPid:")[2].split()[0]), signal.SIGKILL)
            while learners(learn):
                pass


def test_what_does_not_fit_ends_it_with_one_line(tmp_path: Path) -> None:
    cascade, learn = files(tmp_path, "127.0.0.1:1")
    learn.write_text(learn.read_text().replace("share", "sharing"))
    done = subprocess.run(
        [sys.executable, "-m", "escalade.cli", "gateway", cascade, "--learn", learn],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert f"error: {learn}: Object contains unknown field `sharing`" in " ".join(
        done.stderr.split()
    )
    assert "Traceback" not in done.stderr
