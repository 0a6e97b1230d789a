"""The clients that users have, each a real one: OpenAI's for Python and Node, llm, LangChain.

They are in an environment of their own, which `sh tests/edge/endpoint/clients/env.sh FOLDER` makes;
`ESCALADE_CLIENTS=FOLDER` names it, or it is made under `runs/endpoint-clients` the first time.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from escalade.edge import EdgeClient, OpenOptions
from escalade.edge.endpoint import EndpointOptions
from escalade.edge.trace import read_trace

HERE = Path(__file__).parent / "clients"
ROOT = Path(__file__).parents[3]
PROMPT = "g2p: cascade"
NEVER, ALWAYS = 1e9, -1.0
CLIENTS, REQUESTS = 50, 1000

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def environment() -> Path:
    folder = Path(os.environ.get("ESCALADE_CLIENTS", ROOT / "runs" / "endpoint-clients"))
    if not (folder / "made").is_file():
        made = subprocess.run(
            ["sh", HERE / "env.sh", folder], capture_output=True, text=True, check=False
        )
        if made.returncode:
            pytest.skip(f"no environment with clients: {made.stderr.strip()[-300:]}")
    return folder


@pytest.fixture(scope="module")
def expected(float_artifact: Path) -> Any:
    with EdgeClient.open(float_artifact, OpenOptions(threads=1, threshold=NEVER)) as client:
        yield client.ask(PROMPT)


def run(command: list[object], cwd: Path, **settings: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**kept, **settings},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def url(served: Any) -> str:
    return f"http://{served.address}/v1"


def test_openais_own_client_for_python(
    serve: Any, environment: Path, expected: Any, tmp_path: Path
) -> None:
    served = serve(NEVER)
    command = [environment / "bin" / "python", HERE / "ask.py", url(served), "cascade", PROMPT]
    found = json.loads(run(command, tmp_path))
    member = expected.said.members[0]
    assert found["models"] == ["cascade"]
    assert found["chat"] == found["streamed"] == found["final"] == expected.text
    assert found["logprobs"] == pytest.approx(member.logprobs[: len(found["logprobs"])], abs=1e-6)
    assert found["usage"] == member.prompt_tokens + member.generated_tokens
    assert found["stream_usage"] == found["usage"]
    assert found["escalade"]["tier"] == found["tier"] == "small"
    assert len(found["texts"]) == 2
    assert len(found["drawn"]) == 3
    assert found["unknown_model"] == [404, "model_not_found", "model"]
    assert found["tools"] == [400, "unsupported_parameter", "tools"]
    assert found["too_long"] == [400, "context_length_exceeded", "messages"]


def test_a_taken_back_draft_and_a_deferred_answer_for_python(
    serve: Any, environment: Path, expected: Any, tmp_path: Path
) -> None:
    served = serve(ALWAYS)
    command = [environment / "bin" / "python", HERE / "ask.py", url(served), "cascade", PROMPT]
    found = json.loads(run(command, tmp_path))
    assert found["chat"] == found["final"] == "large answer"
    assert found["escalade"]["outcome"] == "deferred"
    assert found["tier"] == "large"
    # Who does not know the event has the draft and what replaced it.
    assert found["streamed"] == expected.text + "large answer"


def test_openais_own_client_for_node(serve: Any, environment: Path, expected: Any) -> None:
    if not (environment / "node").is_dir() or shutil.which("node") is None:
        pytest.skip("no node")
    command = ["node", HERE / "ask.mjs", url(serve(NEVER)), "cascade", PROMPT]
    found = json.loads(run(command, environment / "node"))
    assert found["models"] == ["cascade"]
    assert found["chat"] == found["streamed"] == found["final"] == expected.text
    logprobs = expected.said.members[0].logprobs
    assert found["logprobs"] == pytest.approx(logprobs[: len(found["logprobs"])], abs=1e-6)
    assert found["escalade"]["tier"] == found["tier"] == "small"
    assert found["unknown_model"] == [404, "model_not_found", "model"]


def test_llm(serve: Any, environment: Path, expected: Any, tmp_path: Path) -> None:
    served = serve(NEVER)
    models = [
        {
            "model_id": "device",
            "model_name": "cascade",
            "api_base": url(served),
            "api_key_name": "none",
        }
    ]
    # YAML reads JSON.
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps(models))
    settings = {"LLM_USER_PATH": str(tmp_path)}
    ask = [environment / "bin" / "llm", "-m", "device", "--key", "none", PROMPT]
    assert run(ask, tmp_path, **settings).strip() == expected.text.strip()
    assert run([*ask, "--no-stream"], tmp_path, **settings).strip() == expected.text.strip()
    options = ["-o", "temperature", "0.5", "-o", "max_tokens", "4", "-o", "seed", "3"]
    assert run([*ask, *options], tmp_path, **settings).strip()


def test_langchain(serve: Any, environment: Path, expected: Any, tmp_path: Path) -> None:
    served = serve(NEVER)
    command = [environment / "bin" / "python", HERE / "chain.py", url(served), "cascade", PROMPT]
    found = json.loads(run(command, tmp_path))
    assert found["chat"] == found["streamed"] == found["later"] == expected.text
    assert found["many"] == [expected.text] * 4
    logprobs = expected.said.members[0].logprobs
    assert found["logprobs"] == pytest.approx(logprobs[: len(found["logprobs"])], abs=1e-6)
    assert expected.text.startswith(found["text"])


@pytest.mark.parametrize("mode", ["hold", "replace", "early"])
def test_fifty_clients_lose_no_request(
    serve: Any, mode: str, scripted_cloud: Any, float_artifact: Path, tmp_path: Path
) -> None:
    """1,000 requests, every second one a stream, each with one end; some defer, some do not."""
    prompts = [f"g2p: {first}{last}" for first in "abcdefghij" for last in "klmnopqrst"]
    with EdgeClient.open(float_artifact, OpenOptions(threads=1)) as asked:
        threshold = statistics.median(asked.ask(prompt).score or 0.0 for prompt in prompts)
    trace = tmp_path / "trace.jsonl"
    served = serve(threshold, options=EndpointOptions(queue=CLIENTS, stream=mode), trace=trace)
    ends: Counter[str] = Counter()
    noting = threading.Lock()

    def client(first: int) -> None:
        for number in range(first, REQUESTS, CLIENTS):
            prompt = prompts[number % len(prompts)]
            if number % 2:
                said = served.complete(prompt).choice["escalade"]["outcome"]
            else:
                said = served.complete(prompt, stream=True).events[-1]
                said = said["choices"][0]["escalade"]["outcome"]
            with noting:
                ends[said] += 1

    threads = [threading.Thread(target=client, args=(first,)) for first in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(600)
    assert sum(ends.values()) == REQUESTS
    assert set(ends) == {"answered", "deferred"}
    assert len(scripted_cloud.asked) == ends["deferred"]
    assert Counter(one.outcome for one in read_trace(trace).records) == ends
    assert served.call("GET", "/health").json["under_way"] == 0


def test_beyond_a_small_queue_each_is_answered_or_told_to_come_again(serve: Any) -> None:
    served = serve(NEVER, options=EndpointOptions(queue=4))
    refused, answered = Counter[int](), Counter[int]()
    noting = threading.Lock()

    def client(number: int) -> None:
        for _ in range(20):
            status = served.chat(f"g2p: {number}").status
            with noting:
                (answered if status == 200 else refused)[status] += 1

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(600)
    assert set(answered) == {200}
    assert set(refused) <= {429}
    assert answered.total() + refused.total() == 1000
