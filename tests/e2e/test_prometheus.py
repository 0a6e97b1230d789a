"""A real Prometheus scrapes a server under load, and answers what dashboard and alerts ask it."""

from __future__ import annotations

import json
import math
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from escalade.v1 import cascade_pb2 as pb
from escalade.v1 import cascade_pb2_grpc as pb_grpc

REPO = Path(__file__).parents[2]
DASHBOARD = json.loads((REPO / "cloud/deploy/grafana/escalade.json").read_text())
RULES = REPO / "cloud/deploy/prometheus/rules.yml"
LARGE = REPO / "training/checkpoints/large"
WORDS = ("cascade", "tier", "gate", "draft", "teacher", "expert")
GIVE_UP_S = 120
needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="needs the commands prometheus and promtool: apt-get install prometheus",
)


def queries() -> list[str]:
    """What the dashboard asks, over 30 s where Grafana would choose."""
    asked = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return [one.replace("$__rate_interval", "30s") for one in asked]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Prometheus:
    """A running one."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str, **parameters: str) -> Any:
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310
            said = json.load(answer)
        assert said["status"] == "success"
        return said["data"]


@pytest.fixture(scope="module")
def metrics_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def stub(metrics_port: int) -> Iterator[pb_grpc.CascadeServiceStub]:
    from escalade.cli.demo.processes import running

    listen = ("--listen", "127.0.0.1:0", "--metrics", f"127.0.0.1:{metrics_port}")
    with (
        running("large", "serve", str(LARGE), *listen, "--threads", "1") as address,
        grpc.insecure_channel(address) as channel,
    ):
        yield pb_grpc.CascadeServiceStub(channel)


@pytest.fixture(scope="module")
def prometheus(
    metrics_port: int, stub: object, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    config = folder / "prometheus.yml"
    config.write_text(
        f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{RULES}"]
scrape_configs:
  - job_name: escalade
    static_configs: [{{targets: ["127.0.0.1:{metrics_port}"]}}]
"""
    )
    subprocess.run(["promtool", "check", "config", str(config)], check=True, capture_output=True)
    with subprocess.Popen(
        [
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield Prometheus(port)
        finally:
            process.terminate()


def load(stub: pb_grpc.CascadeServiceStub) -> None:
    """Something of everything: answers, streams, drafts, refusals, a deadline, a cancelled call."""
    info = stub.GetModelInfo(pb.GetModelInfoRequest(), timeout=60)
    for word in WORDS:
        request = pb.GenerateRequest(prompt=pb.Prompt(text=f"g2p: {word}"))
        answer = stub.Generate(request, timeout=60)
        for _ in stub.GenerateStream(pb.GenerateStreamRequest(request=request), timeout=60):
            pass
        request.draft.tokens.ids.extend(answer.token_ids)
        request.draft.tokens.tokenizer_fingerprint = info.model.tokenizer_fingerprint
        stub.Generate(request, timeout=60)
    for refused, seconds in ((pb.GenerateRequest(), 60.0), (request, 0.002)):
        with suppress(grpc.RpcError):
            stub.Generate(refused, timeout=seconds)
    stub.Generate.future(request, timeout=60).cancel()


@needs_prometheus
def test_the_rules_pass_promtool() -> None:
    subprocess.run(["promtool", "check", "rules", str(RULES)], check=True, capture_output=True)


@pytest.mark.slow
@needs_prometheus
def test_every_query_has_an_answer(
    prometheus: Prometheus, stub: pb_grpc.CascadeServiceStub
) -> None:
    give_up = time.monotonic() + GIVE_UP_S
    alerts: list[Any] = []
    while not alerts or any(one["health"] == "unknown" for one in alerts):
        assert time.monotonic() < give_up, alerts
        load(stub)
        with suppress(OSError):  # it is starting
            [group] = prometheus.get("rules")["groups"]
            alerts = group["rules"]
    assert {one["health"] for one in alerts} == {"ok"}
    # An alert is silent as long as all is well: what it compares must be there.
    compared = [re.sub(r" (>|<|==) [0-9.]+$", "", one["query"]) for one in alerts]
    assert all(here != one["query"] for here, one in zip(compared, alerts, strict=True))
    waiting = [*queries(), *compared]
    while waiting:
        assert time.monotonic() < give_up, f"no answer to {waiting}"
        load(stub)
        waiting = [one for one in waiting if not numbers(prometheus, one)]
    assert not numbers(prometheus, "escalade_that_is_not_there")


def numbers(prometheus: Prometheus, query: str) -> list[float]:
    """The values of a query that are numbers: 0 / 0 is none."""
    found = [float(one["value"][1]) for one in prometheus.get("query", query=query)["result"]]
    return [value for value in found if not math.isnan(value)]


def test_the_dashboard_asks_for_what_there_is() -> None:
    golden = (REPO / "tests/cloud/watching/test_metrics.py").read_text()
    known = set(re.findall(r"^(escalade_\w+) (?:gauge|counter|histogram)", golden, re.M))
    asked = " ".join([*queries(), RULES.read_text()])
    named = {re.sub("_bucket$", "", one) for one in re.findall(r"\bescalade_\w+", asked)}
    # All of it, but for who the model is.
    assert named | {"escalade_model_info"} == known


def test_the_dashboards_panels_lie_beside_each_other() -> None:
    panels = DASHBOARD["panels"]
    assert len({one["id"] for one in panels}) == len(panels)
    places = [(one["gridPos"]["x"], one["gridPos"]["y"]) for one in panels]
    assert len(set(places)) == len(places)
    assert all(one["datasource"]["uid"] == "${datasource}" for one in panels)
