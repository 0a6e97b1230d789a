"""Memory that is given back while a model is written, and what stays right all the same."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from escalade.export.memory import drop_pages
from escalade.export.onnx import export_onnx
from escalade.export.quantization import gather_curvatures, hessian_of
from escalade.export.quantization.hessian import gather_hessians_of_text
from escalade.export.settings import Settings

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
NUMBERS = 1 << 22  # 16 MiB


def of_files() -> int:
    """Bytes of files that are resident in this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssFile"))


@pytest.fixture
def mapped(tmp_path: Path) -> Tensor:
    path = tmp_path / "one.safetensors"
    save_file({"one": torch.arange(NUMBERS, dtype=torch.float32)}, path)
    return load_file(path)["one"]


@linux
def test_pages_of_a_file_are_dropped_and_read_again(mapped: Tensor) -> None:
    before = mapped.double().sum()
    read = of_files()
    assert drop_pages([mapped]) >= 4 * NUMBERS
    assert of_files() < read - 3 * NUMBERS
    assert torch.equal(mapped.double().sum(), before)


@linux
def test_what_was_written_to_a_mapped_file_stays(mapped: Tensor) -> None:
    mapped[5] = -1
    assert drop_pages([mapped]) == 0
    assert float(mapped[5]) == -1


@linux
def test_what_is_of_no_file_stays() -> None:
    own = torch.ones(NUMBERS)
    assert drop_pages([own]) == 0
    assert bool((own == 1).all())


def test_hessians_go_with_the_blocks_that_were_rounded_by_them(
    tiny_model_dir: Path, tmp_path: Path
) -> None:
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    texts = torch.randint(84, (2, 8), generator=torch.Generator().manual_seed(0))
    gather_hessians_of_text(model, texts)
    gather_curvatures(model, texts.tolist())
    blocks = model.get_submodule("model.layers")
    hessians = [one for one in map(hessian_of, blocks.modules()) if one is not None]
    assert all(one.trace() > 0 for one in hessians)
    made = export_onnx(model, tmp_path, window=32, settings=Settings(quantize="int4"))
    assert made.detail.endswith("rounded by GPTQ")
    assert len(hessians) == 7 * len(list(blocks.children()))
    for one in hessians:
        with pytest.raises(RuntimeError, match="was freed"):
            one.whole()
        with pytest.raises(RuntimeError, match="was freed"):
            one.add(torch.ones(1, one.columns))
