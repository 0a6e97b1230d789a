"""A whole cascade through real processes and sockets: serve, proxy, ask, record, simulate."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from escalade.cli.demo.processes import running
from escalade.edge.trace import read_trace

ESCALADE = [sys.executable, "-m", "escalade.cli"]


def escalade(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ESCALADE, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def server(tiny_model_dir: Path) -> Iterator[str]:
    with running("server", "serve", str(tiny_model_dir), "--listen", "127.0.0.1:0") as address:
        yield address


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "test.jsonl"
    words = ("cat", "dog", "banana", "zebra", "apple", "o'neil")
    path.write_text(
        "".join(
            json.dumps({"id": w, "task": "g2p", "prompt": f"g2p: {w}", "references": [w]}) + "\n"
            for w in words
        )
    )
    return path


def test_a_probe_asks_a_server_and_its_model_for_their_health(
    server: str, tiny_model_dir: Path
) -> None:
    assert escalade("health", server).stdout == "SERVING\n"
    told = escalade("health", server, "--model", tiny_model_dir.name, "--json")
    assert (told.returncode, json.loads(told.stdout)["status"]) == (0, "SERVING")
    another = escalade("health", server, "--model", "another")
    assert (another.returncode, another.stderr) == (2, f"error: {server}: has no 'another'\n")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        nobody = f"127.0.0.1:{silent.getsockname()[1]}"
        unheard = escalade("health", nobody, "--deadline-s", "0.1")
    assert unheard.returncode == 2
    assert unheard.stderr.startswith(f"error: {nobody}: DEADLINE_EXCEEDED")
    assert unheard.stderr.count("\n") == 1


def test_the_cloud_gives_the_answer_the_device_would_give_with_the_same_weights(
    server: str, float_artifact: Path
) -> None:
    # Both tiers hold the same weights here, so the deferred answer must be the local one.
    alone = json.loads(escalade("ask", float_artifact, "g2p: cascade", "--json").stdout)
    deferred = escalade(
        "ask", float_artifact, "g2p: cascade", "--cloud", server, "--threshold", "-1", "--json"
    )
    assert deferred.returncode == 0, deferred.stderr
    answer = json.loads(deferred.stdout)
    assert (answer["outcome"], answer["answered_by"]) == ("deferred", "cloud")
    assert answer["answer"] == alone["answer"]
    link = answer["tiers"][1]["said"]["link"]
    assert link["attempts"] == 1
    assert link["server_s"] <= link["round_trip_s"]


def test_three_tiers_of_the_same_weights_say_the_same_and_think_the_same_of_it(
    server: str, float_artifact: Path, tmp_path: Path
) -> None:
    again = Path(shutil.copytree(float_artifact, tmp_path / "again"))
    path = again / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["model"]["revision"] = "later"  # or it were the same model
    path.write_text(json.dumps(manifest))
    path = tmp_path / "cascade.toml"
    path.write_text(
        f"""[[tiers]]
name = "vote"
members = ["{float_artifact}", "again"]
side_by_side = true
gate = {{ rule = "vote", threshold = 0.0 }}
[[tiers]]
name = "near"
address = "{server}"
gate = {{ rule = "mean", threshold = -1.0 }}
[[tiers]]
name = "last"
members = ["again"]
"""
    )
    alone = json.loads(escalade("ask", float_artifact, "g2p: cascade", "--json").stdout)
    stop = alone["answer"][3:5]
    for options in ((), ("--stop", stop), ("--max-new-tokens", "5")):
        alone = json.loads(
            escalade("ask", float_artifact, "g2p: cascade", "--json", *options).stdout
        )
        done = escalade("ask", path, "g2p: cascade", "--json", *options)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert (answer["answered_by"], answer["reason"]) == ("last", None)
        assert {tier["said"]["text"] for tier in answer["tiers"]} == {alone["answer"]}
        assert answer["stop"] == alone["stop"]
        if alone["stop"] != "stop":  # a server sends no log-probability of what was cut away
            score = answer["tiers"][1]["said"]["score"]
            assert score == pytest.approx(alone["score"], abs=1e-4)


def test_record_over_the_proxy_then_simulate(
    server: str, float_artifact: Path, data: Path, tmp_path: Path
) -> None:
    stats = tmp_path / "stats.json"
    proxy = ("proxy", "--profile", "coe-10ms", "--upstream", server, "--stats", str(stats))
    trace = tmp_path / "trace.jsonl"
    with running("proxy", *proxy) as address:
        done = escalade(
            "record", float_artifact, "--cloud", address, "--data", data, "--out", trace,
            "--threshold", "1.0", "--json",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    records = read_trace(trace).records
    assert summary["queries"] == len(records) == 6
    assert summary["unanswered"] == 0
    links = []
    for record in records:
        device, cloud = record.tiers
        assert cloud.text == device.text
        links.append(cloud.link)
        # Never less than the profile's delay; how much more is a benchmark's business.
        assert cloud.link.round_trip_s - cloud.link.server_s >= 0.010
    counters = json.loads(stats.read_text())
    assert counters["connections"] == 1
    assert counters["bytes_up"] > sum(link.bytes_up for link in links)
    report = tmp_path / "report.html"
    done = escalade("simulate", trace, "--profile", "lan", "--out", report, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["traces"][0]["queries"] == 6
    assert all(f'id="{name}"' in report.read_text("utf-8") for name in ("sliders", "latency-0"))


def test_a_cloud_with_another_tokenizer_is_told_apart(
    server: str, float_artifact: Path, tmp_path: Path
) -> None:
    import msgspec

    from escalade.edge.artifact.manifest import file_entry, read_manifest, write_manifest
    from escalade.v1.identity import tokenizer_fingerprint

    folder = Path(shutil.copytree(float_artifact, tmp_path / "other"))
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"]["<new>"] = max(content["model"]["vocab"].values()) + 1
    path.write_text(json.dumps(content))
    manifest = read_manifest(float_artifact)
    write_manifest(
        folder,
        msgspec.structs.replace(
            manifest,
            files={**manifest.files, path.name: file_entry(path)},
            model=msgspec.structs.replace(
                manifest.model, tokenizer_fingerprint=tokenizer_fingerprint(path)
            ),
        ),
    )
    ask = ("ask", folder, "g2p: cat", "--cloud", server, "--threshold", "-1")
    refused = escalade(*ask)
    assert refused.returncode == 2
    assert "TOKENIZER_MISMATCH" in refused.stderr.splitlines()[-1]
    assert escalade(*ask, "--send-text").returncode == 0


def test_a_port_in_use(server: str, tiny_model_dir: Path) -> None:
    done = escalade("serve", tiny_model_dir, "--listen", server)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert server.rpartition(":")[2] in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_the_demo_from_end_to_end(
    tiny_model_dir: Path, other_model_dir: Path, tmp_path: Path
) -> None:
    models, out = tmp_path / "models", tmp_path / "out"
    for name in ("small-cat-xent", "small-xent"):
        shutil.copytree(tiny_model_dir, models / name)
    shutil.copytree(other_model_dir, models / "large")
    with subprocess.Popen(
        [*ESCALADE, "demo", "--models", models, "--out", out, "--queries", "20", "--traced", "20",
         "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as demo:  # fmt: skip
        try:
            said, why = demo.communicate(timeout=280)
        except subprocess.TimeoutExpired:
            demo.terminate()  # one that is killed leaves its servers behind
            raise
    assert demo.returncode == 0, why
    found = json.loads(said)
    rows = {(row["profile"], row["system"]): row for row in found["live"]}
    networks = ["coe-1us", "coe-10ms", "coe-100ms", "coe-1s"]
    systems = ["cloud only", "device, cloud", "device, gateway, cloud"]
    assert list(rows) == [(network, system) for network in networks for system in systems]
    for network, floor_s in zip(networks, (0.0, 0.01, 0.1, 1.0), strict=True):
        alone, two, three = (rows[network, system] for system in systems)
        for row in (alone, two, three):
            assert (row["queries"], row["degraded"]) == (20, 0)
            assert row["p95_s"] >= floor_s
            assert sum(row["answered_by"].values()) == pytest.approx(1)
        assert alone["p50_s"] >= floor_s
        assert alone["answered_by"] == {"cloud": 1}
        assert 0 < two["calls_saved"] < 1
        # The gateway's model is the device's here: it is as unsure of what it gets.
        assert three["answered_by"]["cloud"] <= two["answered_by"]["cloud"]
        assert three["answered_by"]["device"] == two["answered_by"]["device"]
        assert 0 < two["cloud_bytes"] < 1.5 * alone["cloud_bytes"]
    clock = [(row["driver"], row["asked_s"]) for row in found["clock"]["rows"]]
    assert clock == [("proxy", asked_s) for asked_s in (1e-6, 3.5e-4, 1e-2, 0.1, 1.0)]
    assert "with the same tokens" in found["executorch"]
    traces = {row["name"]: row for row in found["simulation"]["traces"]}
    assert set(traces) == {"xent", "cat-xent"}
    for name, row in traces.items():
        small, large = row["tiers"]
        assert (small["members"], large["members"]) == ([f"small-{name}"], ["large"])
        assert large["parameters"] > small["parameters"]
    # The two small models are one here, so there is no difference between them.
    (contrast,) = found["evaluation"]["slices"][0]["contrasts"]
    assert contrast["area_gain"]["value"] == 0
    page = (out / "report.html").read_text("utf-8")
    assert all(f'id="{name}"' in page for name in ("sliders", "curve", "latency-3", "explorer"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_demo_leaves_no_process_behind(
    tiny_model_dir: Path, tmp_path: Path, number: signal.Signals
) -> None:
    models = tmp_path / "models"
    for name in ("small-cat-xent", "small-xent", "large"):
        shutil.copytree(tiny_model_dir, models / name)
    demo = subprocess.Popen(
        [*ESCALADE, "demo", "--models", str(models), "--out", str(tmp_path / "out")],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert demo.stderr is not None
    for line in demo.stderr:
        if "asking" in line:
            break
    children: list[int] = []
    deadline = time.monotonic() + 60
    while len(children) < 2 and time.monotonic() < deadline:  # the server and a proxy
        children = _children_of(demo.pid)
    assert len(children) == 2
    demo.send_signal(number)
    demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert [pid for pid in children if Path(f"/proc/{pid}").exists()] == []


def _children_of(pid: int) -> list[int]:
    """All but multiprocessing's tracker, which ends by itself soon after its parent."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    found = children.read_text().split() if children.exists() else []
    command = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in found}
    return [child for child, words in command.items() if b"resource_tracker" not in words]


@pytest.mark.slow
def test_train_behind_a_cloud_then_trace_and_evaluate(
    server: str, tiny_model_dir: Path, tmp_path: Path
) -> None:
    """From a large model that only a server has to a page about the cascade."""
    lines = [
        json.dumps({"id": w, "task": "g2p", "prompt": f"g2p: {w}", "references": [w.upper()[0]]})
        for w in ("cat", "dog", "fig", "pea", "sea", "tin", "van", "zoo")
    ]
    for split in ("train", "valid"):
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    recipe = tmp_path / "small.toml"
    recipe.write_text(
        f'name = "small"\nseed = 1\nloss = "cat-dist"\n[model]\npath = "{tiny_model_dir}"\n'
        f'[data]\nsource = "."\nmax_tokens = 32\n[teacher]\naddress = "{server}"\n'
        'cache = "predictions.safetensors"\n[optim]\nsteps = 2\nbatch_size = 4\nwarmup_steps = 0\n'
    )
    done = escalade("train", recipe, tmp_path / "small", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 2
    assert (tmp_path / "predictions.safetensors").stat().st_size > 0
    trace = tmp_path / "trace.jsonl"
    done = escalade("trace", tmp_path / "small", tiny_model_dir, tmp_path / "valid.jsonl", trace)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(read_trace(trace).records) == 8
    page = tmp_path / "page.html"
    done = escalade(
        "evaluate", f"small={trace}", "--rule", "mean", "--rule", "min", "--report", page
    )
    assert done.returncode == 0, done.stderr
    assert "small" in done.stdout
    assert page.stat().st_size > 0
