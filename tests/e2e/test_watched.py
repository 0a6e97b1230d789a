"""Servers that are watched, as processes of their own: one trace from the device to the cloud."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from collector import attributes, collecting
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from escalade.cli.demo.processes import running
from escalade.edge import EdgeClient

SERVE = [sys.executable, "-m", "escalade.cli", "serve", "--listen", "127.0.0.1:0"]
GENERATE = "escalade.v1.CascadeService/Generate"


def cascade(path: Path, artifact: Path, address: str) -> Path:
    """A file of one artifact that defers everything and an address."""
    path.write_text(
        f"""[[tiers]]
name = "{path.stem}"
members = [{json.dumps(str(artifact))}]
gate = {{ rule = "mean", threshold = -1.0 }}

[[tiers]]
name = "above-{path.stem}"
address = "{address}"
"""
    )
    return path


def test_device_gateway_and_cloud_are_one_trace(
    tiny_model_dir: Path, int8_artifact: Path, tmp_path: Path
) -> None:
    listen = ("--listen", "127.0.0.1:0")
    with collecting() as collector:
        otlp = ("--otlp", collector.address)
        provider = TracerProvider(
            resource=Resource.create({"service.name": "device"}), shutdown_on_exit=False
        )
        exporter = OTLPSpanExporter(f"http://{collector.address}")
        provider.add_span_processor(BatchSpanProcessor(exporter))
        with running("cloud", "serve", str(tiny_model_dir), *listen, *otlp) as cloud:
            file = cascade(tmp_path / "gateway.toml", int8_artifact, cloud)
            with running("gateway", "gateway", str(file), *listen, *otlp) as gateway:
                device = cascade(tmp_path / "device.toml", int8_artifact, gateway)
                with (
                    EdgeClient.open(device) as client,
                    provider.get_tracer("an application").start_as_current_span("question"),
                ):
                    answer = client.ask("g2p: cat")
        provider.shutdown()
        [question] = collector.wait_for(("device", "question"))
        collector.wait_for(("escalade", GENERATE))
        # Both servers have ended, and sent what they had.
        calls = {one.span_id: one for one in collector.spans["escalade", GENERATE]}
    assert answer.outcome == "deferred"
    assert len(calls) == 2
    assert {one.trace_id for one in calls.values()} == {question.trace_id}
    at_gateway = next(one for one in calls.values() if one.parent_span_id == question.span_id)
    at_cloud = next(one for one in calls.values() if one is not at_gateway)
    assert at_cloud.parent_span_id == at_gateway.span_id
    assert attributes(at_gateway)["escalade.tiers"] == ["gateway", "above-gateway"]
    assert attributes(at_cloud)["gen_ai.response.model"] == "tiny"
    for child in ("queue", "compute"):
        spans = collector.spans["escalade", child]
        assert {one.parent_span_id for one in spans} == calls.keys()


def test_a_server_that_logs_json_writes_nothing_else(tiny_model_dir: Path) -> None:
    with subprocess.Popen(
        [*SERVE, str(tiny_model_dir), "--metrics", "127.0.0.1:0", "--log", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        lines = []
        try:
            for line in process.stderr:
                lines.append(json.loads(line))
                if lines[-1]["message"].startswith("serving "):
                    break
            process.terminate()
            output, rest = process.communicate(timeout=60)
        finally:
            process.kill()
    lines += [json.loads(line) for line in rest.splitlines()]
    assert (process.returncode, output) == (0, "")
    said = [line["message"].partition(" ")[0] for line in lines]
    assert said == ["metrics", "loading", "on", "KV", "serving", "drained"]
