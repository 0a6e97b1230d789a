"""Whether the libraries that a layout is for open the folder, and give our tokens and scores.

Each runs in an environment of its own under `runs/envs/`, made by the first test that needs it:
optimum-onnx does not install beside current transformers.
"""

from __future__ import annotations

import json
import subprocess
import venv
from pathlib import Path
from typing import Any, cast

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from escalade.edge.artifact.manifest import Scheme
from escalade.edge.generation.artifact import Artifact
from escalade.edge.runtimes.base import Step
from escalade.export.artifact.artifact import export_artifact
from escalade.export.settings import Layout

REPO = Path(__file__).resolve().parents[2]
BUNDLED = REPO / "training/checkpoints/small-cat-xent"
# The first two have equally many tokens: neither library may pad a prompt of ours.
PROMPTS = ("g2p: cascade", "g2p: balloon", "p2g: K AE T", "stress: banana", "syllables: table")
TEXTS = ("Hello there", "the quick brown fox", "1 + 1 = 2, naïve")

OPTIMUM = ("optimum-onnx==0.1.0", "transformers==4.57.6", "torch==2.13.0", "onnxruntime==1.32.0")
GENAI = ("onnxruntime-genai==0.18.0", "onnxruntime==1.32.0")

ASK_OPTIMUM = """
import json, sys
from optimum.onnxruntime import ORTModelForCausalLM
from transformers import AutoTokenizer

folder, batches = sys.argv[1], json.loads(sys.argv[2])
model = ORTModelForCausalLM.from_pretrained(folder)
tokenizer = AutoTokenizer.from_pretrained(folder)
answers = []
for batch in batches:
    inputs = tokenizer(batch, return_tensors="pt", return_token_type_ids=False)
    tokens = model.generate(**inputs, max_new_tokens=40)
    answers.append(tokens[:, inputs.input_ids.shape[1] :].tolist())
print(json.dumps(answers))
"""
ASK_GENAI = """
import json, sys
import numpy as np
import onnxruntime_genai as og

folder, batches, texts = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
model = og.Model(folder)
answers = []
for batch in batches:
    settings = og.GeneratorParams(model)
    settings.set_search_options(batch_size=len(batch), max_length=len(batch[0]) + 40)
    generator = og.Generator(model, settings)
    generator.append_tokens(np.array(batch, dtype=np.int32))
    logprobs = []
    while not generator.is_done():
        generator.generate_next_token()
        logprobs.append(generator.get_output("logprob")[:, 0].tolist())
    tokens = [generator.get_sequence(row)[len(batch[0]) :].tolist() for row in range(len(batch))]
    answers.append({"tokens": tokens, "logprobs": logprobs})
tokenizer = og.Tokenizer(model) if texts else None
encoded = [tokenizer.encode(text).tolist() for text in texts]
decoded = [tokenizer.decode(ids) for ids in encoded]
turn = json.dumps([{"role": "user", "content": "hi"}])
chat = tokenizer.apply_chat_template(turn, add_generation_prompt=True) if texts else None
print(json.dumps({"answers": answers, "encoded": encoded, "decoded": decoded, "chat": chat}))
"""


def python_with(name: str, requirements: tuple[str, ...]) -> Path:
    """The interpreter of an environment that has these packages; made once, then kept."""
    folder = REPO / "runs" / "envs" / name
    python, stamp = folder / "bin" / "python", folder / "requirements.txt"
    wanted = "\n".join(requirements)
    if not (stamp.is_file() and stamp.read_text() == wanted):
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
        stamp.write_text(wanted)
    return python


def run(python: Path, program: str, *arguments: object) -> Any:
    """What `program` prints, read as JSON."""
    done = subprocess.run(
        [python, "-c", program, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def exported(
    layout: Layout, model_dir: Path, out: Path, scheme: Scheme, prompts: tuple[str, ...]
) -> tuple[Path, dict[str, list[int]], dict[str, list[Step]]]:
    """The folder, each prompt's ids, and our runtime's answer to each."""
    folder = out / layout
    export_artifact(
        model_dir, folder, quantize=scheme, layout=layout, golden_prompts=prompts[:1], tuned=False
    )
    artifact = Artifact.open(folder)
    ids = {prompt: list(artifact.encode(prompt)) for prompt in prompts}
    steps = {prompt: list(artifact.generate(ids[prompt], max_new_tokens=40)) for prompt in prompts}
    return folder, ids, steps


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("scheme", ["none", "int8", "int4"])
def test_optimum_onnx_gives_our_tokens(
    scheme: Scheme, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder, ids, steps = exported("optimum", BUNDLED, tmp_path, scheme, PROMPTS)
    batches = [*([prompt] for prompt in PROMPTS), list(PROMPTS[:2])]
    assert len({len(ids[prompt]) for prompt in batches[-1]}) == 1
    answers = run(python_with("optimum-onnx", OPTIMUM), ASK_OPTIMUM, folder, json.dumps(batches))
    for batch, rows in zip(batches, answers, strict=True):
        for prompt, row in zip(batch, rows, strict=True):
            ours = [step.token_id for step in steps[prompt]]
            assert row[: len(ours)] == ours
            assert set(row[len(ours) :]) <= {0}  # a row that ended before the other is padded


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("scheme", ["none", "int8", "int4"])
def test_onnxruntime_genai_gives_our_tokens_and_scores(scheme: Scheme, tmp_path: Path) -> None:
    folder, ids, steps = exported("genai", BUNDLED, tmp_path, scheme, PROMPTS)
    check_genai(folder, ids, steps, texts=())


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_onnxruntime_genai_reads_a_byte_level_tokenizer_and_a_chat_template(tmp_path: Path) -> None:
    folder, ids, steps = exported("genai", byte_level_llama(tmp_path), tmp_path, "none", TEXTS)
    said = check_genai(folder, ids, steps, texts=TEXTS)
    assert said["encoded"] == [ids[text] for text in TEXTS]
    assert said["decoded"] == list(TEXTS)
    assert said["chat"] == "user: hi<|end|>assistant:"


def check_genai(
    folder: Path,
    ids: dict[str, list[int]],
    steps: dict[str, list[Step]],
    texts: tuple[str, ...],
) -> dict[str, Any]:
    """Ask it each prompt alone, then two of one length together; return all it said."""
    batches = [[prompt] for prompt in ids]
    alike = [prompt for prompt in ids if len(ids[prompt]) == len(ids[batches[0][0]])]
    if len(alike) > 1:
        batches.append(alike)
    asked = json.dumps([[ids[prompt] for prompt in batch] for batch in batches])
    python = python_with("onnxruntime-genai", GENAI)
    said = cast("dict[str, Any]", run(python, ASK_GENAI, folder, asked, json.dumps(texts)))
    for batch, answer in zip(batches, said["answers"], strict=True):
        for row, prompt in enumerate(batch):
            # `get_sequence` leaves out the end-of-sequence token; its score is there.
            tokens = [step.token_id for step in steps[prompt] if not step.ended]
            assert answer["tokens"][row][: len(tokens)] == tokens
            scores = [logprobs[row] for logprobs in answer["logprobs"]][: len(steps[prompt])]
            assert scores == pytest.approx([step.logprob for step in steps[prompt]], abs=1e-5)
    return said


def byte_level_llama(tmp_path: Path) -> Path:
    """A random Llama, its tokenizer of the kind most published models have, and a template."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the quick brown fox says hello there"] * 3, trainer)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=96,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.token_to_id("<|end|>"),
    )
    torch.manual_seed(5)
    model = LlamaForCausalLM(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data.mul_(6)  # random logits of a fresh model are too flat to tell apart
    folder = tmp_path / "byte-level"
    model.save_pretrained(folder)
    end = {"eos_token": "<|end|>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **end).save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(
        "{% for turn in messages %}{{ turn.role }}: {{ turn.content }}<|end|>{% endfor %}assistant:"
    )
    return folder
