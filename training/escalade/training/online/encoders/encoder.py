"""A level that is an encoder of transformers with a classification head; knows no expert.

What does not learn is computed once for each text: embeddings and the lowest layers, one text at a
time and without padding, so that the numbers do not depend on who else is in a batch. An update
goes several times over the new examples and some that it has learned from before, with AdamW.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from escalade.checkpoint import (
    CheckpointError,
    MeanClassifier,
    check_vocabulary,
    classifier_window,
    load_encoder,
    load_tokenizer,
    no_bars,
    tokenizer_fingerprint,
)
from escalade.edge.errors import DataError
from escalade.training.errors import RecipeError
from escalade.training.online.encoders.halves import Split
from escalade.training.online.encoders.kept import Lowered, SeenTexts, kept_states
from escalade.training.online.levels import Example, Prediction, Tensors
from escalade.v1.identity import weights_revision

# Backward takes twice as many FLOPs as forward.
_BACKWARD = 2.0
# What AdamW keeps of a parameter, beside its steps.
_MOMENTS = ("exp_avg", "exp_avg_sq")


class EncoderSettings(NamedTuple):
    """Which encoder, and how it learns."""

    #: Folder of a BERT, RoBERTa or DistilBERT (MiniLM is a BERT). One of sentence-transformers is
    #: read as it was trained: by the mean of its tokens.
    path: Path
    #: Of a text; what is longer is cut.
    max_tokens: int
    #: Embeddings and so many lower layers do not learn.
    frozen_layers: int
    #: Of the other layers, and of the head, which begins with random weights unless the folder has
    #: one of the same labels.
    learning_rate: float
    head_rate: float
    batch_size: int
    #: Passes over the examples of an update.
    epochs: int
    #: Examples learned from again in each update, and the latest that are kept for it.
    replay: int
    memory: int
    #: `cpu`, or `cuda`: there a run that goes on does so but for rounding.
    device: str = "cpu"


class EncoderLevel:
    """See `Level`."""

    def __init__(self, labels: Sequence[str], settings: EncoderSettings, *, seed: int) -> None:
        """Load the encoder, and give it a head for the labels.

        Args:
            labels: of the K >= 2 classes.
            settings: see `EncoderSettings`.
            seed: of the head, of dropout, of what is learned from again, and of the order.

        Raises:
            RecipeError: the folder cannot be loaded, is of another kind, has too few layers, or
                reads fewer tokens; or there is no such device.
        """
        if settings.device != "cpu" and not torch.cuda.is_available():
            raise RecipeError(f"device must be cpu, for torch finds no GPU; got {settings.device}")
        self._labels, self._settings, self._seed = tuple(labels), settings, seed
        self._tokenizer, self._model = _load(settings, labels, seed)
        self._device = torch.device(settings.device)
        self._model.to(self._device)
        self._split = Split(self._model, settings.path, settings.frozen_layers)
        self._memory: list[Example] = []
        self._updates = 0
        self._optimizer = self._fresh_optimizer()
        # A head that reads the mean, and is all that learns, needs no more of a text than it.
        self._only_mean = self._split.all_frozen and isinstance(self._model, MeanClassifier)
        self._revision = weights_revision(settings.path)
        self._states = kept_states(
            (
                self._revision,
                tokenizer_fingerprint(self._tokenizer, settings.path),
                settings.frozen_layers,
                settings.max_tokens,
                self._only_mean,
                settings.device,
            )
        )
        #: Texts whose lower layers this level has run.
        self._seen = SeenTexts()

    def predict(self, text: str) -> Prediction:
        """See `Level`."""
        hidden, spent = self._lower(text)
        self._model.train(False)
        with torch.inference_mode():
            logits = self._logits(hidden[None], None)[0]
        logprobs = F.log_softmax(logits.double(), dim=0).cpu().numpy()
        return Prediction(logprobs, spent + self._split.upper_flops(len(hidden)))

    def learn(self, examples: Sequence[Example]) -> float:
        """See `Level`."""
        generator = np.random.default_rng([self._seed, self._updates])
        again = min(self._settings.replay, len(self._memory))
        chosen = generator.choice(len(self._memory), again, replace=False) if again else ()
        batch = [*examples, *(self._memory[k] for k in chosen)]
        lowered = [self._lower(one.text) for one in batch]
        flops = sum(spent for _, spent in lowered)
        with torch.random.fork_rng(devices=[0] if self._device.type == "cuda" else []):
            torch.manual_seed(int(generator.integers(1 << 62)))
            for _ in range(self._settings.epochs):
                order = generator.permutation(len(batch))
                for at in range(0, len(order), self._settings.batch_size):
                    few = order[at : at + self._settings.batch_size]
                    flops += self._step([lowered[k][0] for k in few], [batch[k].label for k in few])
        self._memory += examples
        del self._memory[: max(0, len(self._memory) - self._settings.memory)]
        self._updates += 1
        return flops

    def state(self) -> Tensors:
        """See `Level`."""
        texts = [one.text.encode() for one in self._memory]
        state: Tensors = {
            "updates": np.array([self._updates], dtype=np.int64),
            "encoder": np.frombuffer(bytes.fromhex(self._revision), dtype=np.uint8),
            "memory.labels": np.array([one.label for one in self._memory], dtype=np.int32),
            "memory.ends": np.cumsum([len(text) for text in texts], dtype=np.int64),
            "memory.texts": np.frombuffer(b"".join(texts), dtype=np.uint8),
        }
        state |= {f"seen.{name}": array for name, array in self._seen.state().items()}
        for name, parameter in self._split.learning:
            state[f"weights.{name}"] = parameter.detach().cpu().numpy()
            if self._updates:
                kept = self._optimizer.state[parameter]
                state |= {f"{moment}.{name}": kept[moment].cpu().numpy() for moment in _MOMENTS}
                state[f"steps.{name}"] = kept["step"].reshape(1).numpy()
        return state

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """See `Level`."""
        if (begun := state["encoder"].tobytes().hex()) != self._revision:
            raise RecipeError(
                f"encoder {self._settings.path}: the run was begun with weights {begun[:12]}, these"
                f" are {self._revision[:12]}"
            )
        self._updates = int(state["updates"][0])
        texts, begins = state["memory.texts"].tobytes(), 0
        self._memory = []
        for end, label in zip(state["memory.ends"], state["memory.labels"], strict=True):
            self._memory.append(Example(texts[begins:end].decode(), int(label)))
            begins = int(end)
        self._seen.restore({name: state[f"seen.{name}"] for name in ("keys", "sizes")})
        self._optimizer = self._fresh_optimizer()
        for name, parameter in self._split.learning:
            with torch.no_grad():
                parameter.copy_(torch.from_numpy(state[f"weights.{name}"].copy()))
            if self._updates:
                kept = {
                    moment: torch.from_numpy(state[f"{moment}.{name}"].copy()).to(self._device)
                    for moment in _MOMENTS
                }
                kept["step"] = torch.from_numpy(state[f"steps.{name}"].copy()).reshape(())
                self._optimizer.state[parameter] = kept

    @no_bars()
    def save(self, folder: Path) -> None:
        """See `Level`: a folder of transformers."""
        try:
            self._model.save_pretrained(folder)
            self._tokenizer.save_pretrained(folder)
        except SafetensorError as error:  # it is no OSError, on a full disk
            raise DataError(f"{folder}: cannot be written: {error}") from error

    def _lower(self, text: str) -> tuple[Tensor, float]:
        """What the layers that do not learn make of a text `(T, hidden)`, and its FLOPs now."""
        found = self._states.get(text, self._computed)
        # As if no other level had run them, and this one had never been cut off.
        new = self._seen.add(text, found.hidden.nbytes)
        return found.hidden, self._split.lower_flops(found.tokens) if new else 0.0

    def _computed(self, text: str) -> Lowered:
        encoded = self._tokenizer(
            text, truncation=True, max_length=self._settings.max_tokens, return_tensors="pt"
        ).to(self._device)
        with torch.inference_mode(), self._split.lower():
            hidden = self._split.base(**encoded).last_hidden_state[0].clone()
        return Lowered(hidden.mean(0, keepdim=True) if self._only_mean else hidden, len(hidden))

    def _step(self, hidden: Sequence[Tensor], labels: Sequence[int]) -> float:
        """One step of AdamW on at most a batch; gives its FLOPs."""
        padded = nn.utils.rnn.pad_sequence([one.clone() for one in hidden], batch_first=True)
        lengths = torch.tensor([len(one) for one in hidden], device=self._device)
        mask = (torch.arange(padded.shape[1], device=self._device) < lengths[:, None]).long()
        self._model.train()
        wanted = torch.tensor(labels, device=self._device)
        loss = F.cross_entropy(self._logits(padded, mask), wanted)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return (1.0 + _BACKWARD) * len(hidden) * self._split.upper_flops(padded.shape[1])

    def _logits(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """What learns makes of `(B, T, hidden)`: `(B, K)`."""
        logits: Tensor
        if self._only_mean:
            logits = self._model.classifier(hidden[:, 0])
        else:
            with self._split.upper(hidden) as given:
                logits = self._model(inputs_embeds=given, attention_mask=mask).logits
        return logits

    def _fresh_optimizer(self) -> torch.optim.AdamW:
        rates = {True: self._settings.head_rate, False: self._settings.learning_rate}
        groups = [
            {
                "params": [p for n, p in self._split.learning if self._split.is_head(n) == head],
                "lr": rate,
            }
            for head, rate in rates.items()
        ]
        return torch.optim.AdamW([group for group in groups if group["params"]])


def _load(
    settings: EncoderSettings, labels: Sequence[str], seed: int
) -> tuple[PreTrainedTokenizerFast, Any]:
    """Tokenizer and model of a folder; nothing is fetched and no code of it runs."""
    logging = transformers.utils.logging
    loud = logging.get_verbosity()
    logging.set_verbosity_error()  # a head that is not there is no surprise
    try:
        model = load_encoder(settings.path, labels, seed=seed)
        tokenizer = load_tokenizer(settings.path)
        check_vocabulary(tokenizer, model.config.vocab_size, settings.path)
        # What is exported reads as much of a text as was learned from.
        tokenizer.model_max_length = settings.max_tokens
        window = classifier_window(model.config, tokenizer, settings.path)
    except CheckpointError as error:
        raise RecipeError(f"encoder {error}") from error
    finally:
        logging.set_verbosity(loud)
    if settings.max_tokens > window:
        raise RecipeError(
            f"encoder {settings.path}: max_tokens must be in 8..{window}, got {settings.max_tokens}"
        )
    return tokenizer, model
