"""One folder of a model, read by export, server and training alike."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine
from escalade.cloud.backends.query import Query
from escalade.cloud.errors import ModelError
from escalade.edge.generation import Artifact
from escalade.export import errors as export_errors
from escalade.export.artifact.artifact import export_artifact
from escalade.training.errors import RecipeError
from escalade.training.quality import greedy_answers
from escalade.training.recipes import open_checkpoint


def test_an_answer_ends_where_the_models_folder_says(tiny_model_dir: Path, tmp_path: Path) -> None:
    """As on the device and on a server: not where its tokenizer would, if it would at all."""
    model, tokenizer = open_checkpoint(str(tiny_model_dir))
    (whole,) = greedy_answers(model, tokenizer, ["g2p: cascade"], max_new_tokens=20)
    ids = tokenizer("g2p: cascade", return_tensors="pt").input_ids
    said = model.generate(ids, max_new_tokens=20, do_sample=False)[0, ids.shape[1] :].tolist()
    last = next(i for i, token in enumerate(said) if i and token not in said[:i])
    folder = Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))
    for name, changes in (
        ("generation_config.json", {"eos_token_id": [2, said[last]]}),
        ("tokenizer_config.json", {"eos_token": None}),
    ):
        settings = json.loads((folder / name).read_text()) | changes
        (folder / name).write_text(json.dumps(settings))
    (cut,) = greedy_answers(*open_checkpoint(str(folder)), ["g2p: cascade"], max_new_tokens=20)
    assert cut.logprobs == pytest.approx(whole.logprobs[: last + 1])
    assert cut.text == tokenizer.decode(said[:last], skip_special_tokens=True)
    export_artifact(folder, tmp_path / "a", golden_prompts=["g2p: cascade"])
    artifact = Artifact.open(tmp_path / "a")
    steps = artifact.generate(artifact.encode("g2p: cascade"), 20)
    assert [step.token_id for step in steps] == said[: last + 1]
    assert artifact.text_of(steps) == cut.text
    engine = TransformersEngine.load(str(folder))
    query = Query(prompt_ids=tuple(ids[0].tolist()), max_new_tokens=20)
    answer = engine.generate(query, lambda: None)
    assert answer.text == cut.text
    assert answer.chosen_ids == said[: last + 1]


def test_answers_that_would_not_be_greedy_are_refused_before_any(
    tiny_model_dir: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))
    settings = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(settings | {"num_beams": 4}))
    says = r"generation_config.json: not taken: num_beams 4"
    with pytest.raises(RecipeError, match=says):
        open_checkpoint(str(folder))
    with pytest.raises(ModelError, match=says):
        TransformersEngine.load(str(folder))
    with pytest.raises(export_errors.ModelError, match=says):
        export_artifact(folder, tmp_path / "a")
