"""Texts of three kinds, and classifiers of them that tests of several parts share: small, real."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression, SGDClassifier

from escalade.edge.artifact import load_manifest, write_manifest
from escalade.edge.classification import Frequencies, HashedNgrams, tfidf
from escalade.export.linear import export_linear

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

LABELS = ["joy", "deep sadness", "Ärger"]
_OWN = [
    ["glad", "happy", "sunny", "laughed", "party", "friend", "won", "great"],
    ["lost", "died", "alone", "cried", "grey", "funeral", "sorry", "missing"],
    ["furious", "unfair", "shouted", "broke", "liar", "rude", "cheated", "slammed"],
]
_COMMON = ["i", "was", "the", "a", "when", "my", "and", "then", "it", "so", "not", "house", "day"]


class Labelled(NamedTuple):
    texts: list[str]
    #: Places in `LABELS`.
    classes: list[int]


def labelled(count: int, *, seed: int = 0, kinds: int = 3) -> Labelled:
    """Sentences of common words, with one or two that tell; one in ten has another's words."""
    draw = random.Random(seed)
    texts, classes = [], []
    for index in range(count):
        kind = index % kinds
        told = _OWN[draw.randrange(kinds) if draw.random() < 0.1 else kind]
        words = draw.choices(_COMMON, k=draw.randrange(3, 30)) + draw.sample(told, 2)
        draw.shuffle(words)
        texts.append(" ".join(words))
        classes.append(kind)
    return Labelled(texts, classes)


def weighed(
    features: HashedNgrams, frequencies: Frequencies | None, texts: list[str]
) -> csr_matrix:
    """Rows of TF-IDF."""
    known = frequencies or Frequencies(features.buckets)
    found = [features.counts(text) for text in texts]
    values = [tfidf(buckets, counts, known) for buckets, counts in found]
    ends = np.cumsum([0, *map(len, values)])
    return csr_matrix(
        (np.concatenate(values), np.concatenate([buckets for buckets, _ in found]), ends),
        (len(texts), features.buckets),
    )


def frequencies_of(features: HashedNgrams, texts: list[str]) -> Frequencies:
    frequencies = Frequencies(features.buckets)
    for text in texts:
        frequencies.add(features.counts(text)[0])
    return frequencies


def fitted(
    features: HashedNgrams, frequencies: Frequencies | None, *, kinds: int = 3, sgd: bool = True
) -> SGDClassifier | LogisticRegression:
    data = labelled(300, kinds=kinds)
    classifier = SGDClassifier(loss="log_loss", random_state=0) if sgd else LogisticRegression(C=9)
    return classifier.fit(weighed(features, frequencies, data.texts), data.classes)


def linear_artifact(
    out: Path, *, buckets: int = 1 << 12, sgd: bool = True, labels: Sequence[str] = tuple(LABELS)
) -> Path:
    """An artifact of it, fitted on 300 sentences; `labels` are what it calls `LABELS`."""
    features = HashedNgrams(buckets=buckets)
    frequencies = frequencies_of(features, labelled(300).texts)
    export_linear(
        fitted(features, frequencies, sgd=sgd),
        features,
        out,
        labels=labels,
        frequencies=frequencies,
        golden_texts=labelled(3, seed=1).texts,
    )
    return out


def with_threshold(folder: Path, threshold: float | None = 0.5) -> Path:
    """The artifact, which may now stand below another tier; None takes that away."""
    manifest = load_manifest(folder)
    deferral = msgspec.structs.replace(manifest.deferral, threshold=threshold)
    write_manifest(folder, msgspec.structs.replace(manifest, deferral=deferral))
    return folder


#: By `model_type`: the smallest of each family.
ENCODERS: dict[str, dict[str, object]] = {
    "bert": {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 48, "max_position_embeddings": 24,
    },
    "distilbert": {
        "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "max_position_embeddings": 24,
    },
    "roberta": {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 48, "max_position_embeddings": 26, "pad_token_id": 1,
    },
}  # fmt: skip


def encoder_folder(
    out: Path, kind: str = "bert", *, train: bool = False, mean: bool = False, **config: object
) -> Path:
    """A folder of transformers: random, or after a few steps on 300 sentences; 24 tokens long.

    With `mean` one of sentence-transformers, whose classes are read from the mean of the tokens.
    """
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

    from escalade.checkpoint import MeanClassifier

    tokenizer = _roberta_tokenizer() if kind == "roberta" else _bert_tokenizer()
    settings = {
        "vocab_size": len(tokenizer),
        "id2label": dict(enumerate(LABELS)),
        **ENCODERS[kind],
        **config,
    }
    torch.manual_seed(0)
    read = AutoConfig.for_model(kind, **settings)
    model = (
        MeanClassifier(AutoModel.from_config(read), len(LABELS))
        if mean
        else AutoModelForSequenceClassification.from_config(read)
    )
    if train:
        data = labelled(300)
        optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
        for start in [*range(0, 300, 30)] * 4:
            part = slice(start, start + 30)
            batch = tokenizer(
                data.texts[part], padding=True, truncation=True, max_length=24, return_tensors="pt"
            )
            model(**batch, labels=torch.tensor(data.classes[part])).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return out


def _bert_tokenizer() -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = sorted({*_COMMON, *_OWN[0], *_OWN[1], *_OWN[2]})
    letters = [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    letters += [letter for letter in "abcdefghijklmnopqrstuvwxyz?!.,'" if letter not in words]
    vocabulary = {token: index for index, token in enumerate([*special, *words, *letters])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=special[1]))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )  # fmt: skip
    return BertTokenizerFast(tokenizer_object=tokenizer)


def _roberta_tokenizer() -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import RobertaTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(labelled(300).texts, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return RobertaTokenizerFast(tokenizer_object=tokenizer)
