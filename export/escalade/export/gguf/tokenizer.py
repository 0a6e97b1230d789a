"""Takes the tokenizer out of a GGUF file, and holds it against llama.cpp's own; knows no weights.

The file has words, merges and the name of a way to split text. transformers makes a tokenizer of
them, with its own knowledge of those names; where it has none of a name, the two may part.
"""

from __future__ import annotations

import copy
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from escalade.checkpoint import CheckpointError, first_line, load_tokenizer, probing_texts
from escalade.edge.artifact import TOKENIZER_NAME
from escalade.edge.runtimes import open_llamacpp
from escalade.export.errors import ModelError
from escalade.export.quiet import quiet

_SHOWN_IDS = 12
_ALONE = 240  # as many as are joined in the other texts
# What converters fill a vocabulary up with; some mark it so that llama.cpp finds it in texts.
_FILLING = re.compile(r"\[PAD\d+\]")
_BLANK = "\u2581"  # SentencePiece's


def tokenizer_of(path: Path, size: int) -> PreTrainedTokenizerFast:
    """The tokenizer in a GGUF file, as llama.cpp reads it.

    Args:
        path: of the file; no other file of a model may lie beside it.
        size: how many words it has.

    Raises:
        ModelError: transformers cannot make one of it, or makes one that reads other tokens.
    """
    try:
        with quiet(), tempfile.TemporaryDirectory() as folder:
            found = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
            found.save_pretrained(folder)
            _forget_others(Path(folder), size)
            tokenizer = load_tokenizer(Path(folder))
    except CheckpointError as error:
        raise ModelError(f"{path}: {str(error).partition(': ')[2]}") from error
    except Exception as error:  # of any kind, for what it does not know
        raise ModelError(f"{path}: its tokenizer cannot be read: {first_line(error)}") from error
    changes: list[Callable[[Tokenizer], None]] = [
        lambda backend: _surround(backend, path),
        _keep_whole_words,
        _split_otherwise,
    ]
    before = _differences(path, tokenizer)
    for change in changes:
        if not before or not isinstance(tokenizer.backend_tokenizer.model, models.BPE):
            break
        changed = copy.deepcopy(tokenizer)
        change(changed.backend_tokenizer)
        after = _differences(path, changed)
        if len(after) < len(before):
            tokenizer, before = changed, after
    if before:
        text, here, there = before[0]
        raise ModelError(
            f"{path}: transformers reads {text!r} as {here[:_SHOWN_IDS]}, llama.cpp as"
            f" {there[:_SHOWN_IDS]}: no tokenizer.json of it would be right"
        )
    return tokenizer


def _surround(backend: Tokenizer, path: Path) -> None:
    """Put around a text what llama.cpp does, where the file does not say it."""
    llama_cpp = open_llamacpp().llama_cpp
    with _vocabulary(path) as words:
        begins = llama_cpp.llama_vocab_get_add_bos(words) and llama_cpp.llama_vocab_bos(words)
        ends = llama_cpp.llama_vocab_get_add_eos(words) and llama_cpp.llama_vocab_eos(words)
    # Below 0 it is one that the file does not have.
    around = [(backend.id_to_token(one), one) for one in (begins, ends) if _is_word(one)]
    first = f"{around[0][0]} " if _is_word(begins) else ""
    last = f" {around[-1][0]}" if _is_word(ends) else ""
    backend.post_processor = processors.TemplateProcessing(
        single=f"{first}$A{last}", special_tokens=around
    )


def _is_word(token: int | bool) -> bool:
    return token is not False and token >= 0


def _keep_whole_words(backend: Tokenizer) -> None:
    """Take a word that the vocabulary has as it is, whatever merges would make of it."""
    model = backend.model
    model.ignore_merges = True
    backend.model = model


def _split_otherwise(backend: Tokenizer) -> None:
    """Split as llama.cpp does where transformers 5.23 takes another rule of the same kind."""
    if backend.model.byte_fallback:
        # SentencePiece: a blank goes before the text, whether or not it begins with one
        # (llama.cpp, src/llama-vocab.cpp, `add_space_prefix`).
        backend.normalizer = normalizers.Sequence(
            [normalizers.Prepend(_BLANK), normalizers.Replace(" ", _BLANK)]
        )
        backend.pre_tokenizer = None
    else:
        # Where it does not know the name of a split it takes GPT-2's; SmolLM's and others' have
        # each digit alone (there, LLAMA_VOCAB_PRE_TYPE_SMOLLM).
        digits = pre_tokenizers.Digits(individual_digits=True)
        bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.pre_tokenizer = pre_tokenizers.Sequence([digits, bytes_])


def _forget_others(folder: Path, size: int) -> None:
    """Take out what a class of transformers adds of its own, as `<|endoftext|>`, behind the words.

    Args:
        folder: a saved tokenizer's.
        size: how many words the file has.
    """
    path, settings = folder / TOKENIZER_NAME, folder / "tokenizer_config.json"
    saved = json.loads(path.read_text("utf-8"))
    added = saved["added_tokens"]
    others = {token["content"] for token in added if token["id"] >= size}
    saved["added_tokens"] = [token for token in added if token["id"] < size]
    path.write_text(json.dumps(saved, ensure_ascii=False), "utf-8")
    said = json.loads(settings.read_text("utf-8"))
    kept = {name: value for name, value in said.items() if str(value) not in others}
    settings.write_text(json.dumps(kept, ensure_ascii=False), "utf-8")


def end_ids(path: Path) -> list[int]:
    """The tokens at which llama.cpp ends an answer.

    Raises:
        ModelError: there are none, or llama.cpp cannot read them.
    """
    llama_cpp = open_llamacpp().llama_cpp
    with _vocabulary(path) as words:
        count = llama_cpp.llama_vocab_n_tokens(words)
        found = [one for one in range(count) if llama_cpp.llama_vocab_is_eog(words, one)]
    if not found:
        raise ModelError(f"{path}: names no end of sequence: answers would never end")
    return found


def _differences(
    path: Path, tokenizer: PreTrainedTokenizerFast
) -> list[tuple[str, list[int], list[int]]]:
    """The texts that a tokenizer and llama.cpp's of a file read differently, and how.

    Returns:
        Of each the text, the tokenizer's ids and llama.cpp's.

    Raises:
        ModelError: llama.cpp cannot read the file's.
    """
    found = []
    llama_cpp = open_llamacpp().llama_cpp
    with _vocabulary(path) as words:
        for text in [*probing_texts(tokenizer), *_alone(tokenizer)]:
            if _FILLING.search(text):
                continue
            raw = text.encode()
            room = len(raw) + 8  # a token for each byte, and what goes around a text
            ids = (llama_cpp.llama_token * room)()
            count = llama_cpp.llama_tokenize(words, raw, len(raw), ids, room, True, True)
            here = list(tokenizer(text).input_ids)
            if here != (there := list(ids[:count])):
                found.append((text, here, there))
    return found


def _alone(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """Some of the vocabulary's words, each a text: merges may not make of it what it is."""
    count = len(tokenizer)
    return [str(tokenizer.decode([one])) for one in range(0, count, max(1, count // _ALONE))]


def reads_alike(path: Path, tokenizer: PreTrainedTokenizerFast) -> bool:
    """Whether llama.cpp reads every probing text by a file as a tokenizer does.

    Raises:
        ModelError: llama.cpp cannot read the file's.
    """
    return not _differences(path, tokenizer)


@contextmanager
def _vocabulary(path: Path) -> Iterator[int]:
    """What llama.cpp reads of a file's tokenizer, as its pointer."""
    library = open_llamacpp()
    llama_cpp = library.llama_cpp
    settings = llama_cpp.llama_model_default_params()
    settings.vocab_only = True
    library.forget_errors()
    model = llama_cpp.llama_model_load_from_file(os.fsencode(path), settings)
    if not model:
        raise ModelError(f"{path}: llama.cpp cannot read its tokenizer: {library.last_error()}")
    try:
        yield llama_cpp.llama_model_get_vocab(model)
    finally:
        llama_cpp.llama_model_free(model)
