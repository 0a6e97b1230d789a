"""Loads the tokenizer of a model's folder, one and the same for whoever asks; knows no weights.

What comes out is always a `TokenizersBackend` whose `tokenizer.json` says all: export ships it, the
server announces its fingerprint, and training saves it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.tokenization_utils_base import get_fast_tokenizer_file

from escalade.checkpoint.errors import CheckpointError, first_line
from escalade.checkpoint.files import read_object
from escalade.checkpoint.tokenizers.probing import probing_texts, read
from escalade.checkpoint.tokenizers.reading import SETTINGS_NAME, chosen
from escalade.v1.identity import fingerprint_of

TOKENIZER_NAME = "tokenizer.json"
# `clean_up_tokenization` of transformers 5.23 (tokenization_utils_base.py), in its order.
_CLEAN_UP = (
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"),
    (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
)  # fmt: skip
_CLEAN_BPE_TOO = "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output"
# SentencePiece's word boundary, which T5's class puts into any vocabulary.
_BLANK = "▁"
# Before a token that follows another without a blank; of no vocabulary.
_NO_PREFIX = "\U0010fffd\U0010fffd"


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer that export ships, the server asks and training reads with.

    Args:
        folder: as transformers' `save_pretrained` leaves it.

    Raises:
        CheckpointError: it cannot be loaded, or it says something that no `tokenizer.json` can; the
            message names it.
    """
    settings = _settings(folder)
    name = _file_name(settings)
    _refuse_random(folder, name, settings)
    try:
        found = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        if not isinstance(found, PreTrainedTokenizerFast):
            raise CheckpointError(f"{folder}: its tokenizer does not run from {TOKENIZER_NAME}")
        _check_there(found, folder, name)
        tokenizer = _whole(found, chosen(found, folder, name, settings))
    except CheckpointError:
        raise
    # tokenizers raises bare Exception.
    except Exception as error:
        raise CheckpointError(
            f"{folder}: its tokenizer cannot be loaded: {first_line(error)}"
        ) from error
    _check_added(tokenizer, folder, settings)
    _check_whole(tokenizer, folder)
    return tokenizer


def tokenizer_json(tokenizer: PreTrainedTokenizerFast) -> str:
    """All that a tokenizer is, in the form that the device opens."""
    return str(tokenizer.backend_tokenizer.to_str(pretty=True))


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerFast, where: object) -> str:
    """Its fingerprint, as artifacts and the wire have it.

    Args:
        tokenizer: of `load_tokenizer`.
        where: it came from, for messages.

    Raises:
        CheckpointError: it reads one text in several ways.
    """
    try:
        return fingerprint_of(tokenizer_json(tokenizer), where)
    except ValueError as error:
        raise CheckpointError(str(error)) from error


def check_vocabulary(tokenizer: PreTrainedTokenizerFast, size: int, where: object) -> None:
    """Refuse a tokenizer that may give ids which its model does not know.

    Raises:
        CheckpointError: it has more tokens than the model's vocabulary has places.
    """
    if len(tokenizer) > size:
        raise CheckpointError(
            f"{where}: its tokenizer has {len(tokenizer)} tokens, the model's vocabulary only"
            f" {size}"
        )


def _settings(folder: Path) -> dict[str, object]:
    """What `tokenizer_config.json` says.

    Raises:
        CheckpointError: it is no JSON object.
    """
    path = folder / SETTINGS_NAME
    return read_object(path) if path.is_file() else {}


def _file_name(settings: Mapping[str, object]) -> str:
    """Of the file that transformers takes: there may be one for each range of its versions."""
    named = settings.get("fast_tokenizer_files")
    return str(get_fast_tokenizer_file(named)) if isinstance(named, list) else TOKENIZER_NAME


def _refuse_random(folder: Path, name: str, settings: Mapping[str, object]) -> None:
    """Refuse what reads one text in several ways, before a class drops it or heeds it.

    Raises:
        CheckpointError: the file or the settings ask for it, or the file cannot be read.
    """
    try:
        if (folder / name).is_file():
            fingerprint_of((folder / name).read_bytes(), folder / name)
    except (OSError, ValueError) as error:
        raise CheckpointError(str(error)) from error
    sentencepiece = settings.get("sp_model_kwargs")
    if isinstance(sentencepiece, dict) and sentencepiece.get("enable_sampling"):
        raise CheckpointError(
            f"{folder / SETTINGS_NAME}: sp_model_kwargs.enable_sampling must be false, got true:"
            " it reads one text in many ways"
        )


def _check_there(found: PreTrainedTokenizerFast, folder: Path, name: str) -> None:
    """Refuse what a class makes up where the folder has none of its files."""
    own = found.backend_tokenizer.get_vocab(with_added_tokens=False)
    if not own.keys() - {*found.all_special_tokens, _BLANK}:
        raise CheckpointError(
            f"{folder}: its tokenizer has no tokens but special ones: {name} is missing, or empty"
        )


def _whole(
    found: PreTrainedTokenizerFast, chosen: PreTrainedTokenizerFast
) -> PreTrainedTokenizerFast:
    """The chosen one as a `TokenizersBackend` whose file says all, with the folder's template."""
    backend = chosen.backend_tokenizer
    # A stored setting would be undone and redone at each call, from several threads.
    backend.no_truncation()
    backend.no_padding()
    cleans = chosen.clean_up_tokenization_spaces and (
        type(backend.model).__name__ != "BPE" or getattr(chosen, _CLEAN_BPE_TOO)
    )
    if cleans:
        backend.decoder = _cleaning(backend)
    if type(chosen) is PreTrainedTokenizerFast:
        chosen.clean_up_tokenization_spaces = False
        chosen.init_kwargs["clean_up_tokenization_spaces"] = False
        return chosen
    whole = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        **chosen.special_tokens_map,
        extra_special_tokens=chosen.extra_special_tokens,
        model_max_length=chosen.model_max_length,
        split_special_tokens=chosen.split_special_tokens,
        chat_template=found.chat_template,
    )
    whole.name_or_path = found.name_or_path
    return whole


def _cleaning(backend: Tokenizer) -> decoders.Decoder:
    """The decoder, and after it what transformers does to the text when told to clean it up."""
    # Without a decoder, tokens are joined by blanks: as WordPiece's does it for words.
    first = backend.decoder or decoders.WordPiece(prefix=_NO_PREFIX, cleanup=False)
    replaced = [decoders.Replace(old, new) for old, new in _CLEAN_UP]
    return decoders.Sequence([first, decoders.Fuse(), *replaced])


def _check_added(
    tokenizer: PreTrainedTokenizerFast, folder: Path, settings: Mapping[str, object]
) -> None:
    """Refuse tokens that did not get the ids that the folder gives them."""
    declared: list[tuple[str, object, object]] = []
    decoder = settings.get("added_tokens_decoder")
    if isinstance(decoder, dict):
        declared += [
            (SETTINGS_NAME, token.get("content"), id_)
            for id_, token in decoder.items()
            if isinstance(token, dict)
        ]
    elif (path := folder / "added_tokens.json").is_file():
        declared += [
            (path.name, token, id_) for token, id_ in json.loads(path.read_bytes()).items()
        ]
    known = tokenizer.get_vocab()
    for name, token, id_ in declared:
        if str(known.get(str(token))) != str(id_):
            raise CheckpointError(
                f"{folder / name}: gives the token {token!r} the id {id_}, but it has"
                f" {known.get(str(token), 'none')}"
            )


def _check_whole(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Refuse what its `tokenizer.json` alone would read otherwise: the device has nothing else."""
    if tokenizer.split_special_tokens:
        raise CheckpointError(
            f"{folder / SETTINGS_NAME}: split_special_tokens must be false; no {TOKENIZER_NAME}"
            " says it"
        )
    shipped = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(tokenizer_json(tokenizer))
    )
    texts = probing_texts(tokenizer)
    for text, here, there in zip(texts, read(tokenizer, texts), read(shipped, texts), strict=True):
        if here != there:
            raise CheckpointError(
                f"{folder}: its tokenizer reads {text!r} as {_short(here.ids)}, its"
                f" {TOKENIZER_NAME} as {_short(there.ids)}"
            )


def _short(ids: Sequence[int] | str) -> str:
    return str(ids if isinstance(ids, str) else list(ids))[:80]
