"""Members of a task: classifiers of several kinds and sizes, as artifacts; knows no cascade.

All learn from the labels of a task's first part. They differ in what they read, how many of
MiniLM's layers they keep, which half of the part they see, and how their weights are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple

import numpy as np
import torch
from benchmarks.online.ngrams import frequencies_of, rows_of
from benchmarks.study_ensembles.tasks import Item
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.preprocessing import StandardScaler
from transformers import AutoModel, PreTrainedTokenizerFast

from escalade.checkpoint import MeanClassifier
from escalade.edge.artifact import Scheme
from escalade.edge.classification import HashedNgrams
from escalade.export.artifact.classifier import export_classifier
from escalade.export.linear import export_linear
from escalade.export.quiet import quiet

#: Which of a task's first part a member learns from.
Seen = Literal["first half", "second half", "all"]
# Of what an encoder reads, in tokens; and how many texts it reads at a time.
_LONGEST, _BATCH = 64, 32
# Of scikit-learn's penalty: `benchmarks.study_online.pilot` chose it for streams of short texts.
_ALPHA = 5e-5


class Linear(NamedTuple):
    """A linear model over hashed n-grams."""

    name: str
    seen: Seen
    words: tuple[int, int]
    characters: tuple[int, int] | None = None


class Encoder(NamedTuple):
    """The lowest layers of MiniLM, and a head on the mean of its tokens."""

    name: str
    seen: Seen
    layers: int
    scheme: Scheme = "int8"


class Size(NamedTuple):
    """Members of about one cost, which one tier may have."""

    name: str
    members: tuple[Linear | Encoder, ...]


SIZES = (
    Size(
        "linear",
        (
            Linear("words-1", "first half", (1, 2)),
            Linear("words-2", "second half", (1, 2)),
            Linear("characters-1", "first half", (1, 1), (2, 4)),
            Linear("characters-2", "second half", (1, 1), (3, 5)),
            Linear("both", "all", (1, 2), (3, 5)),
        ),
    ),
    Size(
        "short",
        (
            Encoder("layers-2-1", "first half", 2),
            Encoder("layers-2-2", "second half", 2),
            Encoder("layers-3-1", "first half", 3),
            Encoder("layers-3-2", "second half", 3),
            Encoder("layers-3", "all", 3),
        ),
    ),
    Size(
        "whole",
        (
            Encoder("layers-6-1", "first half", 6),
            Encoder("layers-6-2", "second half", 6),
            Encoder("layers-6", "all", 6, "none"),
            Encoder("layers-6-int8", "all", 6),
            Encoder("layers-5", "all", 5),
        ),
    ),
)


class States(NamedTuple):
    """Means of MiniLM's tokens after each layer, of some texts: `(layers + 1, n, H)`."""

    encoder: Path
    means: NDArray[np.float32]


def states_of(encoder: Path, texts: Sequence[str], progress: Callable[[int, int], None]) -> States:
    """What each layer makes of texts; one pass for all members."""
    tokenizer = _tokenizer(encoder)
    with quiet():
        model = AutoModel.from_pretrained(encoder).eval()
    # Texts of like length are read together, for less padding.
    order = np.argsort([len(text) for text in texts], kind="stable")
    means = np.empty(
        (model.config.num_hidden_layers + 1, len(texts), model.config.hidden_size), np.float32
    )
    with torch.inference_mode():
        for start in range(0, len(texts), _BATCH):
            places = order[start : start + _BATCH]
            batch = tokenizer(
                [texts[place] for place in places],
                padding=True,
                truncation=True,
                return_tensors="pt",
            )
            hidden = torch.stack(model(**batch, output_hidden_states=True).hidden_states)
            counted = batch["attention_mask"][None, :, :, None].to(hidden.dtype)
            means[:, places] = ((hidden * counted).sum(2) / counted.sum(2)).numpy()
            progress(min(start + _BATCH, len(texts)), len(texts))
    return States(encoder, means)


def make(
    size: Size, states: States, train: Sequence[Item], out: Path, seed: int
) -> dict[str, Path]:
    """Train and export a size's members.

    Args:
        size: whose.
        states: of the texts of `train`.
        train: what they learn from.
        out: where their artifacts come to lie.
        seed: of a linear member.

    Returns:
        By a member's name its artifact.
    """
    made = {}
    for member in size.members:
        seen = _seen(member.seen, len(train))
        made[member.name] = folder = out / member.name
        if isinstance(member, Linear):
            _make_linear(member, [train[place] for place in seen], folder, seed)
        else:
            labels = [train[place].label for place in seen]
            _make_encoder(member, states.encoder, states.means[member.layers, seen], labels, folder)
    return made


def _seen(which: Seen, count: int) -> NDArray[np.intp]:
    half = count // 2
    first, last = {"all": (0, count), "first half": (0, half)}.get(which, (half, count))
    return np.arange(first, last)


def _make_linear(member: Linear, train: Sequence[Item], out: Path, seed: int) -> None:
    features = HashedNgrams(words=member.words, characters=member.characters)
    texts = [item.text for item in train]
    frequencies = frequencies_of(features, texts)
    rows = rows_of(features, frequencies, texts)
    classifier = SGDClassifier(loss="log_loss", alpha=_ALPHA, random_state=seed)
    classifier.fit(rows, [item.label for item in train])
    export_linear(classifier, features, out, frequencies=frequencies, name=member.name)


def _make_encoder(
    member: Encoder,
    encoder: Path,
    means: NDArray[np.float32],
    said: Sequence[str],
    out: Path,
) -> None:
    scaler = StandardScaler().fit(means)
    head = LogisticRegression(C=0.01, max_iter=1000).fit(scaler.transform(means), said)
    labels = [str(label) for label in head.classes_]
    weight, bias = head.coef_ / scaler.scale_, head.intercept_
    bias = bias - weight @ scaler.mean_
    if len(labels) == 2:  # whose one row is the second's against the first
        weight, bias = np.vstack((-weight / 2, weight / 2)), np.hstack((-bias / 2, bias / 2))
    with quiet():
        kept = AutoModel.from_pretrained(encoder, num_hidden_layers=member.layers)
    kept.config.id2label = dict(enumerate(labels))
    kept.config.label2id = {label: number for number, label in enumerate(labels)}
    classifier = MeanClassifier(kept, len(labels)).eval()
    with torch.no_grad():
        classifier.classifier.weight.copy_(torch.from_numpy(weight))
        classifier.classifier.bias.copy_(torch.from_numpy(bias))
    with TemporaryDirectory() as folder, quiet():
        classifier.save_pretrained(Path(folder))
        _tokenizer(encoder).save_pretrained(folder)
        export_classifier(Path(folder), out, name=member.name, quantize=member.scheme)


def _tokenizer(encoder: Path) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast.from_pretrained(encoder, model_max_length=_LONGEST)
