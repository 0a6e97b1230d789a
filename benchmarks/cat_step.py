"""What a step of cascade-aware training costs beside a plain one; knows no quality.

Whole steps of `CatTrainer` (forward, loss, backward, AdamW) on the same model and batch, in
one process, taken in turn: plain cross-entropy, CAT-Xent and CAT-Dist with the teacher's
predictions from a cache, and CAT-Xent with the teacher run beside it. The live teacher is
held against theory: forward 2 x P_L a token beside 6 x P_S for a step (Kaplan et al. 2020,
arXiv 2001.08361). Peak memory is a process of its own for each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from rich.table import Table
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, TrainingArguments

from escalade.cli.output import result_console
from escalade.cli.process.quiet import quiet_third_party
from escalade.training.examples import Collator, Example
from escalade.training.losses import IGNORE, LossName
from escalade.training.teachers import CachedTeacher, LocalTeacher, Teacher, write_cache
from escalade.training.trainer import CatTrainer

_PROMPT = 32
_LEARNABLE = 0.8
#: name: the loss, and where the teacher's predictions come from.
VARIANTS: dict[str, tuple[LossName, str]] = {
    "xent": ("xent", "none"),
    "cat-xent, cached": ("cat-xent", "cache"),
    "cat-dist, cached": ("cat-dist", "cache"),
    "cat-xent, live": ("cat-xent", "live"),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vocabulary", type=int, default=32_000)
    parser.add_argument("--tokens", type=int, default=128, help="length of an example")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--memory-of", nargs=2, metavar=("STEP", "FOLDER"), help="one peak")
    options = parser.parse_args()
    quiet_third_party()
    if options.memory_of:
        name, folder = options.memory_of
        print(peak_bytes(options, name, Path(folder)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        prepare(options, Path(scratch))
        seconds = step_seconds(options, Path(scratch))
        peaks = {name: peak_in_a_process(name, scratch) for name in VARIANTS}
    plain_s, plain_bytes = seconds["xent"], peaks["xent"]
    size = size_of(options)
    small, large = model(*size[:2], large=False), model(*size[:2], large=True)
    theory = 1 + 2 * computed(large) / (6 * computed(small))
    found = {
        name: {
            "step_s": statistics.median(seconds[name]),
            "time_ratio": statistics.median(
                mine / plain for mine, plain in zip(seconds[name], plain_s, strict=True)
            ),
            "peak_mib": peaks[name] / 2**20,
            "memory_ratio": peaks[name] / plain_bytes,
        }
        for name in VARIANTS
    }
    if options.json:
        print(json.dumps({"steps": found, "live_in_theory": theory}, indent=2))
        return
    table = Table(
        *("step", "median", "time ratio", "peak over idle", "memory ratio"),
        title=f"V = {options.vocabulary:,}, {options.batch} x {options.tokens} tokens,"
        f" {torch.get_num_threads()} threads, {options.repeats} steps each, taken in turn",
    )
    for name, row in found.items():
        table.add_row(
            name, f"{1e3 * row['step_s']:.0f} ms", f"{row['time_ratio']:.3f}",
            f"{row['peak_mib']:.0f} MiB", f"{row['memory_ratio']:.3f}",
        )  # fmt: skip
    result_console().print(table)
    result_console().print(f"cat-xent, live, in theory (1 + 2 P_L / 6 P_S): {theory:.3f}")


def model(vocabulary: int, tokens: int, *, large: bool) -> LlamaForCausalLM:
    """A random Llama: 5.6M parameters, or 23M."""
    torch.manual_seed(int(large))
    width = 320 if large else 128
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=8 if large else 4,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=tokens,
            tie_word_embeddings=True,
        )
    )


def computed(of: LlamaForCausalLM) -> int:
    """Parameters that a token is multiplied with: all, the head being the embedding."""
    return sum(parameter.numel() for parameter in of.parameters())


def size_of(options: argparse.Namespace) -> tuple[int, int, int]:
    """Vocabulary, tokens of an example, examples."""
    return options.vocabulary, options.tokens, options.batch


def prepare(options: argparse.Namespace, folder: Path) -> None:
    """Write one batch of random tokens, and what the teacher predicts on it.

    A quarter is prompt, and the teacher is right on 4 labels of 5: were it right on none, CAT
    would filter all tokens and look cheaper than it is.
    """
    vocabulary, tokens, batch = size_of(options)
    large = model(vocabulary, tokens, large=True)
    torch.manual_seed(2)
    ids = torch.randint(vocabulary, (batch, tokens))
    labels = ids.clone()
    with torch.no_grad():
        said = large(input_ids=ids).logits.argmax(dim=-1)
    learnable = torch.rand(batch, tokens - 1) < _LEARNABLE
    labels[:, 1:] = torch.where(learnable, said[:, :-1], ids[:, 1:])
    labels[:, :_PROMPT] = IGNORE
    pairs = zip(ids.tolist(), labels.tolist(), strict=True)
    rows = [Example(input_ids=i, labels=y, example_index=k) for k, (i, y) in enumerate(pairs)]
    (folder / "examples.json").write_text(json.dumps(rows))
    write_cache(
        folder / "cache.safetensors", LocalTeacher(large), rows,
        tokenizer="none", pad_token_id=0, top_k=8,
    )  # fmt: skip


def examples(folder: Path) -> list[Example]:
    """The batch that `prepare` wrote."""
    rows: list[Example] = json.loads((folder / "examples.json").read_text())
    return rows


def trainer_of(options: argparse.Namespace, name: str, folder: Path) -> CatTrainer:
    """A trainer whose teacher gives its predictions as the variant wants them."""
    loss, source = VARIANTS[name]
    rows = examples(folder)
    teacher: Teacher | None = None
    if source == "live":
        teacher = LocalTeacher(model(*size_of(options)[:2], large=True))
    elif source == "cache":
        teacher = CachedTeacher(folder / "cache.safetensors", rows, tokenizer="none")
    arguments = TrainingArguments(
        output_dir=str(folder / "out"), use_cpu=True, report_to="none", learning_rate=1e-3
    )
    trainer = CatTrainer(
        model=model(*size_of(options)[:2], large=False), args=arguments, train_dataset=rows,
        loss_name=loss, teacher=teacher,
    )  # fmt: skip
    trainer.create_optimizer_and_scheduler(1000)
    return trainer


def step(trainer: CatTrainer, batch: dict[str, Tensor]) -> None:
    """One optimizer step."""
    targets = (batch["labels"] != IGNORE).sum()
    trainer.training_step(trainer.model, batch, num_items_in_batch=targets)
    trainer.optimizer.step()
    trainer.optimizer.zero_grad()


def step_seconds(options: argparse.Namespace, folder: Path) -> dict[str, list[float]]:
    """Seconds of each step, the variants taken in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in VARIANTS}
    batch = Collator(0)(examples(folder))
    trainers = {name: trainer_of(options, name, folder) for name in VARIANTS}
    for repeat in range(-2, options.repeats):
        for name, trainer in trainers.items():
            started = time.perf_counter()
            step(trainer, batch)
            if repeat >= 0:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def peak_in_a_process(name: str, folder: str) -> int:
    """Bytes over idle that a few steps take, in a fresh process."""
    command = [sys.executable, __file__, *sys.argv[1:], "--memory-of", name, folder]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def peak_bytes(options: argparse.Namespace, name: str, folder: Path) -> int:
    """Peak resident bytes of three steps, less what was resident before the first."""
    trainer = trainer_of(options, name, folder)
    batch = Collator(0)(examples(folder))
    # execve(2) hands a parent's peak on; forget it (proc(5), clear_refs).
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    for _ in range(3):
        step(trainer, batch)
    return resident("VmHWM") - before


def resident(field: str) -> int:
    """A field of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


if __name__ == "__main__":
    main()
