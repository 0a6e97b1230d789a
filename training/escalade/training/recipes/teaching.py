"""Opens the teacher a recipe asks for, and has its cache written where one is; no training here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from transformers import PreTrainedTokenizerFast, TrainingArguments

from escalade.edge.wire import ClientFiles
from escalade.training.errors import CacheError, RecipeError, TeacherError
from escalade.training.examples import Examples
from escalade.training.losses import needs_distribution
from escalade.training.recipes.loading import fingerprint_of, load_teacher, located, revision_of
from escalade.training.recipes.recipe import Recipe, TeacherTable
from escalade.training.teachers import (
    CachedTeacher,
    CloudScorer,
    CloudTeacher,
    HigherTiers,
    LocalTeacher,
    Teacher,
    write_cache,
)
from escalade.v1.channel import plaintext_of

#: Called with a stage ("teacher", "train", "validate"), how much of it is done, how much
#: there is, and the numbers logged since the last call (loss, tokens_filtered, ...).
Progress = Callable[[str, int, int, Mapping[str, float]], None]


def open_teacher(
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerFast,
    examples: Examples,
    arguments: TrainingArguments,
    seq2seq: bool,
    *,
    progress: Progress | None = None,
) -> Teacher | None:
    """The teachers of a run, as one: from a cache if the recipe names one, written now if missing.

    Raises:
        RecipeError: the model cannot be loaded.
        TeacherError: it does not fit the student, or does not answer.
        CacheError: the cache was made for other data or another teacher, or keeps too little.
    """
    last = recipe.teachers[-1:]
    opened = [
        _opened(
            name,
            table,
            tokenizer,
            examples,
            arguments,
            seq2seq,
            top_k=table.top_k if needs_distribution(recipe.loss) and table in last else 0,
            progress=progress,
        )
        for name, table in recipe.asked
    ]
    return HigherTiers(opened) if len(opened) > 1 else next(iter(opened), None)


def _opened(
    name: str,
    table: TeacherTable,
    tokenizer: PreTrainedTokenizerFast,
    examples: Examples,
    arguments: TrainingArguments,
    seq2seq: bool,
    *,
    top_k: int,
    progress: Progress | None,
) -> Teacher:
    """One teacher; `name` is what messages call its table."""
    if table.cache is None:
        if table.path is None:
            raise RecipeError(f"{name}.path is missing")
        return _same_kind(load_teacher(table.path, tokenizer), seq2seq)
    path = Path(table.cache)
    fingerprint = fingerprint_of(tokenizer)
    # The first process of all writes; on several nodes they share the disk.
    with arguments.main_process_first(local=False, desc="the teacher's predictions"):
        if not path.exists() and arguments.process_index == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_cache(
                path,
                _source(table, tokenizer, fingerprint, top_k, seq2seq),
                examples,
                tokenizer=fingerprint,
                pad_token_id=tokenizer.pad_token_id,
                top_k=top_k,
                seq2seq=seq2seq,
                device=arguments.device,
                progress=lambda done, total: (
                    progress("teacher", done, total, {}) if progress else None
                ),
            )
    cached = CachedTeacher(path, examples, tokenizer=fingerprint)
    if cached.key.top_k < min(top_k, cached.key.vocabulary_size):
        raise CacheError(
            f"{path}: keeps {cached.key.top_k} log-probabilities of each token,"
            f" {name}.top_k asks for {top_k}; delete it to have it written again"
        )
    if table.path is not None:
        _check_same_teacher(cached, table.path)
    return cached


def _source(
    table: TeacherTable,
    tokenizer: PreTrainedTokenizerFast,
    fingerprint: str,
    top_k: int,
    seq2seq: bool,
) -> Teacher:
    """Whom to ask what a cache will hold."""
    if table.address is not None:
        shown = (table.token_file, table.client_cert, table.client_key)
        scorer = CloudScorer(
            table.address,
            tokenizer_fingerprint=fingerprint,
            ca_cert=None if table.ca_cert is None else Path(table.ca_cert),
            plaintext=plaintext_of(tls=table.tls, plaintext=None),
            files=ClientFiles(*(None if one is None else Path(one) for one in shown)),
        )
        return CloudTeacher(scorer, top_k=top_k, seq2seq=seq2seq)
    if table.path is None:
        raise CacheError(f"{table.cache}: does not exist, and no teacher.path or address to ask")
    return _same_kind(load_teacher(table.path, tokenizer), seq2seq)


def _same_kind(teacher: LocalTeacher, seq2seq: bool) -> LocalTeacher:
    if bool(teacher.model.config.is_encoder_decoder) != seq2seq:
        kinds = ("a causal LM", "an encoder-decoder")
        raise TeacherError(
            f"teacher {teacher.identity.name!r} is {kinds[not seq2seq]}, the student"
            f" {kinds[seq2seq]}: their positions do not line up"
        )
    return teacher


def _check_same_teacher(cached: CachedTeacher, path: str) -> None:
    """A cache beside a path must hold that model's predictions."""
    if cached.identity.revision != revision_of(located(path).folder):
        raise CacheError(
            f"{cached.identity.name}: the cache holds another model's predictions than"
            f" {path!r}; delete it to have it written again"
        )
