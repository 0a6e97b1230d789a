"""Signing, verifying, installing and rolling back, as a user meets them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from authority import signing_keys
from small_traces import cloud, device, header, record, tier_answer

from escalade.edge.artifact import Manifest, load_manifest, program_digest
from escalade.edge.store import Store
from escalade.edge.trace import (
    write_trace,
)

Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture
def artifact(int8_artifact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(int8_artifact, tmp_path / "artifact"))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with key.pem and pub.pem, and another pair in `other`."""
    folder = tmp_path_factory.mktemp("keys")
    for one in (folder, folder / "other"):
        signing_keys(one)
    return folder


def rename(artifact: Path, name: str) -> Path:
    """The same artifact under another model name: another version."""
    content = json.loads((artifact / "manifest.json").read_text())
    content["model"]["name"] = name
    (artifact / "manifest.json").write_text(json.dumps(content))
    return artifact


def test_verify_says_of_each_thing_what_was_checked(
    invoke: Invoke, artifact: Path, keys: Path
) -> None:
    code, out, err = invoke("store", "verify", artifact)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "manifest: schema 2, every value in range"
    assert lines[1].endswith("sizes and sha256 as listed, nothing else")
    assert lines[2] == "golden prompts: 3 of 3 answered as listed"
    assert lines[3:] == ["signature: not signed"]

    assert invoke("store", "sign", artifact, "--key", keys / "key.pem")[0] == 0
    _, out, _ = invoke("store", "verify", artifact, "--skip-golden")
    assert out.splitlines()[2:] == [
        "golden prompts: not played",
        "signature: signature not checked: give --trusted-key",
    ]
    code, out, _ = invoke("store", "verify", artifact, "--trusted-key", keys / "pub.pem", "--json")
    assert code == 0
    assert json.loads(out) | {"bytes": 0, "files": 0} == {
        "schema": 2, "files": 0, "bytes": 0, "golden_prompts": 3, "signature": "valid",
    }  # fmt: skip


def test_verify_refuses_in_one_line(invoke: Invoke, artifact: Path, keys: Path) -> None:
    def refused(*arguments: object) -> str:
        code, out, err = invoke("store", "verify", artifact, *arguments)
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert len(err.splitlines()) == 1
        return err

    assert "not signed: model.sig is missing" in refused("--trusted-key", keys / "pub.pem")
    invoke("store", "sign", artifact, "--key", keys / "other" / "key.pem")
    assert "Key mismatch" in refused("--trusted-key", keys / "pub.pem")
    assert "must be an elliptic curve key" in refused("--trusted-key", keys / "key.pem")
    (artifact / "extra").touch()
    assert "extra: the manifest does not list it" in refused()


def test_a_store_from_first_installation_to_rollback(
    invoke: Invoke, artifact: Path, keys: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    invoke("store", "sign", rename(artifact, "first"), "--key", keys / "key.pem")
    code, out, err = invoke("store", "install", artifact, store, "--trusted-key", keys / "pub.pem")
    assert (code, err) == (0, "")
    assert "was nothing" in out
    assert f"signature by {keys / 'pub.pem'}" in out

    code, out, _ = invoke("ask", store / "current", "g2p: cat", "--json")
    assert code == 0

    rename(artifact, "second")
    code, out, err = invoke("store", "install", artifact, store, "--trusted-key", keys / "pub.pem")
    assert code == 2
    assert "Signature mismatch" in err
    code, out, _ = invoke("store", "install", f"file://{artifact}", store, "--json")
    second = json.loads(out)
    assert (code, second["fetched_bytes"], second["signature_checked"]) == (0, 0, False)

    code, out, _ = invoke("store", "versions", store)
    assert [line.split()[:1] for line in out.splitlines()] == [[second["before"][:12]], ["*"]]
    code, out, _ = invoke("store", "versions", store, "--json")
    assert [(one["model"], one["current"]) for one in json.loads(out)] == [
        ("first", False), ("second", True),
    ]  # fmt: skip
    code, out, _ = invoke("store", "rollback", store, "--json")
    assert json.loads(out) == {"before": second["id"], "current": second["before"]}
    code, out, err = invoke("store", "rollback", store)
    assert code == 2
    assert "there is no version before the current one" in err
    code, out, _ = invoke("store", "rollback", store, "--to", second["id"][:6])
    assert out.startswith(f"{store}: current is {second['id'][:12]}, was ")


def test_versions_say_what_is_known_of_a_signature(
    invoke: Invoke, artifact: Path, keys: Path, tmp_path: Path
) -> None:
    store, key = tmp_path / "store", keys / "pub.pem"

    def said(*options: object) -> str:
        code, out, err = invoke("store", "versions", store, *options)
        assert (code, err) == (0, "")
        return str(out).rstrip("\n").rpartition("  ")[2]

    (artifact / "model.sig").write_bytes(b"signed!")
    invoke("store", "install", artifact, store, "--skip-golden")
    assert said() == said("--trusted-key", key) == "unreadable signature"
    invoke("store", "sign", artifact, "--key", keys / "key.pem")
    invoke("store", "install", artifact, store, "--trusted-key", key, "--skip-golden")
    assert said() == "signature not checked: give --trusted-key"
    assert said("--trusted-key", key) == f"signed by {key}"
    other = keys / "other" / "pub.pem"
    assert said("--trusted-key", other) == f"not signed by {other}"
    code, _, err = invoke("store", "versions", store, "--trusted-key", keys / "no.pem")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "no.pem: cannot be read" in err


def test_an_older_artifact_is_refused_in_one_line(
    invoke: Invoke, artifact: Path, tmp_path: Path
) -> None:
    store, path = tmp_path / "store", artifact / "manifest.json"
    invoke("store", "install", artifact, store, "--skip-golden")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"created": "2001-01-01"}))
    code, out, err = invoke("store", "install", artifact, store, "--skip-golden")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "made at '2001-01-01', before the current version" in err
    code, out, _ = invoke("store", "install", artifact, store, "--skip-golden", "--allow-older")
    assert (code, "current is" in out) == (0, True)


def test_a_listed_version_moves_no_cursor(invoke: Invoke, artifact: Path, tmp_path: Path) -> None:
    path = artifact / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"created": "\x1b[2J\n"}))
    invoke("store", "install", artifact, tmp_path / "store", "--skip-golden")
    code, out, _ = invoke("store", "versions", tmp_path / "store")
    assert code == 0
    assert len(out.splitlines()) == 1
    assert "\\x1b[2J\\n" in out


MISTAKES = [
    (
        ["install", "{tmp}/nowhere", "{tmp}/store"],
        "nowhere: not an artifact: it has no manifest",
    ),
    (["install", "http://example.org/a", "{tmp}/store"], "must be https"),
    (["install", "{artifact}", "{artifact}"], "is there and holds no escalade.lock"),
    (["install", "{artifact}", "{tmp}/s", "--trusted-key", "{tmp}/no.pem"], "not signed"),
    (["install", "{artifact}", "{tmp}/s", "--keep", "-1"], "'--keep': Input should be"),
    (["rollback", "{tmp}/store"], "no store, or nothing was ever installed"),
    (["versions", "{artifact}"], "no store, or nothing was ever installed"),
    (["verify", "{tmp}/nowhere"], "nowhere: cannot be opened: No such file"),
    (["verify", "{tmp}"], "not an artifact: manifest.json cannot be read"),
    (["sign", "{artifact}", "--key", "{tmp}/no.pem"], "no.pem: cannot be read"),
]


@pytest.mark.parametrize(("arguments", "says"), MISTAKES)
def test_a_mistake_costs_one_line_and_leaves_nothing(
    invoke: Invoke, artifact: Path, tmp_path: Path, arguments: list[str], says: str
) -> None:
    before = sorted(tmp_path.rglob("*"))
    code, out, err = invoke(
        "store", *(argument.format(tmp=tmp_path, artifact=artifact) for argument in arguments)
    )
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
    assert says in err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("agreement", "goes_back"), [(0.5, True), (0.95, False)])
def test_an_audit_goes_back_from_a_version_that_is_worse_and_from_no_other(
    agreement: float, goes_back: bool, invoke: Invoke, artifact: Path, tmp_path: Path
) -> None:
    store, traces = tmp_path / "store", tmp_path / "traces"
    traces.mkdir()
    for name, share in (("first", 0.95), ("second", agreement)):
        rename(artifact, name)
        assert invoke("store", "install", artifact, store, "--skip-golden")[0] == 0
        audited_trace(traces / f"{name}.jsonl", load_manifest(artifact), share)
    first, second = (one.id for one in Store(store).versions())
    code, out, err = invoke("store", "rollback", store, "--audit", traces, "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["audit"]["worse"] is goes_back
    assert told["audit"]["current"]["counts"] == {
        "queries": 600, "kept": 500, "audited": 400, "agreed": 400 * agreement,
    }  # fmt: skip
    assert (told["before"], told["current"]) == (second, first if goes_back else second)
    assert Store(store).current == told["current"]


def test_an_audit_says_in_a_line_for_each_version_what_it_found(
    invoke: Invoke, artifact: Path, tmp_path: Path
) -> None:
    store, trace = tmp_path / "store", tmp_path / "trace.jsonl"
    invoke("store", "install", artifact, store, "--skip-golden")
    audited_trace(trace, load_manifest(artifact), 0.95)
    code, _, err = invoke("store", "rollback", store, "--audit", trace)
    assert (code, err) == (2, f"error: {store}: there are no two versions to compare\n")
    invoke("store", "install", rename(artifact, "second"), store, "--skip-golden")
    code, out, _ = invoke("store", "rollback", store, "--audit", trace)
    assert code == 0
    stays, says, earlier, later = out.splitlines()
    assert stays == f"{store}: current stays {str(Store(store).current)[:12]}"
    assert says == "the later version is not known to be worse than the earlier"
    assert earlier.startswith("earlier: 95.8% (")
    assert earlier.endswith(
        "%) agree with the expert (600 queries, 500 kept, 400 audited, 380 agreed)"
    )
    assert later == "later: nothing is known (0 queries, 0 kept, 0 audited, 0 agreed)"
    code, _, err = invoke("store", "rollback", store, "--audit", trace, "--to", "a")
    assert (code, err) == (2, "error: --audit compares with the version before; leave --to out\n")


def audited_trace(path: Path, manifest: Manifest, agreement: float) -> None:
    """600 queries of which 500 are kept, 400 of them audited, and such a share of these agrees."""

    experts = ["a"] * round(400 * agreement) + ["b"] * round(400 * (1 - agreement)) + [None] * 100
    kept = [(tier_answer("a"), None if one is None else tier_answer(one)) for one in experts]
    records = [
        record(str(number), *tiers, prompt=f"p{number}", answered_by=int(number >= len(kept)))
        for number, tiers in enumerate([*kept, *[(tier_answer("a"), tier_answer("c"))] * 100])
    ]
    small = device(manifest.deferral.threshold, program=program_digest(manifest))
    write_trace(path, header(small, cloud()), records)
