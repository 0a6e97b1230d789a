"""A tier whose members agree by a sentence encoder that its gate names."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from classifiers import encoder_folder

from escalade.edge import EdgeClient, OpenOptions
from escalade.edge.artifact import (
    MANIFEST_NAME,
    memory_needed,
    memory_of_all,
    read_manifest,
    write_manifest,
)
from escalade.edge.base import Record, sha256_of
from escalade.edge.calibration import calibrate_cascade
from escalade.edge.cascade_file import GateTable, MemberTable, read_cascade_file
from escalade.edge.deferral import EMBEDDING, RatesGoal
from escalade.edge.errors import CascadeError
from escalade.edge.generation import SentenceEncoder
from escalade.edge.shadow import record_trace
from escalade.edge.trace import read_trace
from escalade.simulator.recorded import tiers_of

RECORDS = [
    Record(id=str(k), task="g2p", prompt=f"g2p: {word}", references=["x"])
    for k, word in enumerate(("cascade", "a", "entropy", "device", "mood", "ladder"))
]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of random weights: who is alike is nobody's idea, and always the same."""
    from escalade.export.artifact.sentences import export_sentence_encoder

    folder = tmp_path_factory.mktemp("encoder")
    model = encoder_folder(folder / "model", mean=True)
    modules = (model / "modules.json").read_text().replace("2_Dense", "2_Normalize")
    (model / "modules.json").write_text(modules.replace("models.Dense", "models.Normalize"))
    export_sentence_encoder(model, folder / "out")
    return folder / "out"


@pytest.fixture
def write(folders: list[Path], encoder: Path, tmp_path: Path) -> Callable[[float], Path]:
    copied = Path(shutil.copytree(encoder, tmp_path / "encoder"))

    def write(threshold: float) -> Path:
        path = tmp_path / "cascade.toml"
        path.write_text(
            f'[[tiers]]\nname = "panel"\nmembers = ["{folders[0]}", "{folders[2]}", "{folders[1]}"]'
            f'\ngate = {{ rule = "{EMBEDDING}", threshold = {threshold}, encoder ='
            f' "{copied.name}" }}\n'
            f'[[tiers]]\nname = "last"\nmembers = ["{folders[2]}"]\n'
        )
        return path

    return write


def test_the_text_most_like_the_others_wins(
    write: Callable[[float], Path], encoder: Path, tmp_path: Path
) -> None:
    path, out = write(2.0), tmp_path / "trace.jsonl"
    alike = SentenceEncoder.open(encoder).similarity
    with EdgeClient.open(path) as client:
        record_trace(client, RECORDS, out)
    trace = read_trace(out)
    for record in trace.records:
        said = record.tiers[0]
        assert said is not None
        texts = [one.text or "" for one in said.members]
        # Who says the very same is alike whatever the encoder says.
        near = np.array([[1.0 if a == b else max(0.0, alike(a, b)) for b in texts] for a in texts])
        assert said.text == texts[int(near.mean(axis=1).argmax())]
        assert said.score == pytest.approx(1 - near.mean(axis=1).max(), abs=1e-6)
    # A replay has the scores that were recorded, with all members asked.
    panel = tiers_of(trace)[0]
    assert panel.score.tolist() == [one.tiers[0].score for one in trace.records if one.tiers[0]]
    assert panel.asked.tolist() == [[3] * len(RECORDS)]


def test_its_threshold_is_of_that_encoder_and_of_no_other(
    write: Callable[[float], Path], tmp_path: Path
) -> None:
    path, out = write(2.0), tmp_path / "trace.jsonl"
    with EdgeClient.open(path, calibrated=False) as client:
        record_trace(client, RECORDS, out)
        found = calibrate_cascade(path, client.cascade, out, RatesGoal(targets=[0.5]))
    assert found.rules == [EMBEDDING]
    gate = read_cascade_file(path).tiers[0].gate
    assert isinstance(gate, GateTable)
    assert isinstance(gate.encoder, MemberTable)
    pin = sha256_of(tmp_path / "encoder" / MANIFEST_NAME)
    assert gate.encoder == MemberTable(artifact="encoder", manifest_sha256=pin)
    with EdgeClient.open(path) as client:
        answer = client.ask(RECORDS[0].prompt)
    assert answer.threshold == found.thresholds[0]
    whole = path.read_text()
    path.write_text(whole.replace(f', manifest_sha256 = "{pin}"', ""))
    with pytest.raises(CascadeError, match=r"gate\.encoder has no manifest_sha256"):
        EdgeClient.open(path)
    path.write_text(whole)
    manifest = read_manifest(tmp_path / "encoder")
    write_manifest(tmp_path / "encoder", msgspec.structs.replace(manifest, created="later"))
    with pytest.raises(CascadeError, match="encoder was changed: its manifest is"):
        EdgeClient.open(path)


def test_its_memory_counts(write: Callable[[float], Path], folders: list[Path]) -> None:
    """What is enough for the members is too little for them and the encoder."""
    needed = [
        memory_needed(folder, read_manifest(folder)).total for folder in (*folders, folders[2])
    ]
    with pytest.raises(CascadeError, match=r"for 5 models together \(.*encoder "):
        EdgeClient.open(write(0.5), OpenOptions(max_memory=memory_of_all(needed)))
