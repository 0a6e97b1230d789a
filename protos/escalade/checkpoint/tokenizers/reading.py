"""Says which of transformers' two readings of a tokenizer is the folder's; knows no weights.

transformers reads a folder in one of two ways. `TokenizersBackend` takes `tokenizer.json` whole and
adds what stands beside it. Classes with an `__init__` of their own (`Qwen2Tokenizer`,
`GPT2Tokenizer`, `LlamaTokenizer`, `BertTokenizer` and some forty others) take only vocabulary and
merges out of the file and build the rest anew, by their own lights and by the settings of
`tokenizer_config.json`. Where the two read texts differently, either the class heeds a setting that
stands outside the file, and transformers is right; or it drops what the file says, and the file is
right. It is the first where the class, left without its settings or without one of them, reads what
the file says. Where the class drops what
the file says, a setting of its own that takes it further from the file is refused by name; one that
brings it nearer is in the file already.
"""

from __future__ import annotations

import inspect
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from escalade.checkpoint.errors import CheckpointError
from escalade.checkpoint.tokenizers.probing import probing_texts, read, unlike

SETTINGS_NAME = "tokenizer_config.json"
_OTHER_SETTINGS = ("special_tokens_map.json", "added_tokens.json")
# Of a class's own parameters, what is no setting of how it reads: parts of the file, and tokens.
_PARTS = {"self", "vocab", "merges", "vocab_file", "merges_file", "tokenizer_file", "kwargs"}


def chosen(
    found: PreTrainedTokenizerFast, folder: Path, name: str, settings: Mapping[str, object]
) -> PreTrainedTokenizerFast:
    """Of transformers' reading of a folder and that of its file with what is added, the right one.

    Raises:
        CheckpointError: its class drops what the file says, and heeds a setting besides.
    """
    if type(found) is PreTrainedTokenizerFast or not (folder / name).is_file():
        return found
    plain = _plain(folder, found)
    texts = probing_texts(plain)
    by_class, as_said = read(found, texts), read(plain, texts)
    if by_class == as_said:
        return plain
    class_ = type(found)
    with tempfile.TemporaryDirectory() as scratch:
        bare = _variant(Path(scratch) / "bare", folder, name, None)
        by_itself = class_.from_pretrained(bare)
        file = _plain(bare, by_itself)
        texts_of_file = probing_texts(file)
        by_file = read(file, texts_of_file)
        if read(by_itself, texts_of_file) == by_file:
            return found
        heeded = []
        for number, (key, other) in enumerate(_other_settings(class_, settings)):
            changed = _variant(Path(scratch) / str(number), folder, name, other)
            varied = class_.from_pretrained(changed)
            if read(varied, texts_of_file) == by_file:
                return found
            without = read(varied, texts)
            nearer = unlike(without, as_said) <= unlike(by_class, as_said)
            if key not in other and without != by_class and nearer:
                heeded.append(key)
    if heeded:
        raise CheckpointError(
            f"{folder / SETTINGS_NAME}: {', '.join(heeded)} of {class_.__name__}, which does not"
            f" read what {name} says, is not taken: write it into {name}, or leave it out"
        )
    return plain


def _plain(folder: Path, like: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """The folder's file with all that stands beside it, and the special tokens of a class."""
    plain: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(folder)
    known, own = plain.get_vocab(), plain.special_tokens_map
    more = {
        name: token
        for name, token in like.special_tokens_map.items()
        if name not in own and token in known
    }
    if more:
        plain = PreTrainedTokenizerFast.from_pretrained(folder, **more)  # type: ignore[arg-type]
    return plain


def _other_settings(
    class_: type[PreTrainedTokenizerFast], settings: Mapping[str, object]
) -> Iterator[tuple[str, dict[str, object]]]:
    """The settings without each of those that only the class heeds, and with each one turned."""
    for key in inspect.signature(class_.__init__).parameters:
        if key in _PARTS or key.endswith("_token") or key not in settings:
            continue
        yield key, {name: value for name, value in settings.items() if name != key}
        if isinstance(settings[key], bool):
            yield key, {**settings, key: not settings[key]}


def _variant(scratch: Path, folder: Path, name: str, settings: Mapping[str, object] | None) -> Path:
    """The folder's tokenizer with other settings, or with none and nothing beside its file."""
    scratch.mkdir()
    (scratch / name).symlink_to((folder / name).resolve())
    if settings is not None:
        (scratch / SETTINGS_NAME).write_text(json.dumps(settings), "utf-8")
        for other in _OTHER_SETTINGS:
            if (folder / other).is_file():
                (scratch / other).symlink_to((folder / other).resolve())
    return scratch
