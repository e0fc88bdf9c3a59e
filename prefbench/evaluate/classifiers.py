"""Learned utilities of sentiment: a classifier fitted to labelled reviews, and one from the hub."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from prefbench import weights
from prefbench.errors import UserError
from prefbench.files import MODEL_FILES, refuse_odd_files
from prefbench.problem.corpus import Corpus
from prefbench.problem.utilities.protocol import Scores, Utility, check_lengths
from prefbench.text import is_empty, message_or_type

_MAX_FEATURES = 60_000  # IMDB's accuracy no longer rises beyond this, and the fit stays within seconds
_INVERSE_PENALTY = 8.0


@dataclass(frozen=True)
class ReviewClassifier(Utility):
    """Log-odds that a response is positive, by a linear model over its words and word pairs.

    Attributes:
        empty: what a response without a word earns, in log-odds.
        name: version, corpus and `empty`; the fit is deterministic, so the corpus's digest stands for it.
        accuracy: share of reviews not fitted on that the classifier labels rightly, 0 to 1.
        accuracy_on: which reviews those are.
        pipeline: the fitted scikit-learn pipeline.
    """

    empty: float
    name: str
    accuracy: float
    accuracy_on: str
    pipeline: Any = field(repr=False, compare=False)
    unit: str = "log-odds of a positive review"

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """The linear model's value for each response, which unlike a probability does not saturate."""
        check_lengths(prompts, responses)
        scores = np.full(len(responses), self.empty, dtype=np.float64)
        kept = [index for index, response in enumerate(responses) if not is_empty(response)]
        if kept:
            scores[kept] = self.pipeline.decision_function([responses[index] for index in kept])
        return scores


def fit_review_classifier(corpus: Corpus, empty: float) -> ReviewClassifier:
    """Fit TF-IDF of words and word pairs, then logistic regression, on the corpus's own labels.

    Accuracy is measured on the corpus's test split where it has one with labels. Elsewhere every tenth
    review of each label is held out for it, and the classifier never sees those.

    Args:
        corpus: reviews with labels of both kinds.
        empty: what a response without a word earns, in log-odds.

    Returns:
        The classifier; the same corpus gives the same one.

    Raises:
        UserError: the corpus has no labels, one label only, or too few reviews of one label.
    """
    if corpus.labels is None:
        raise UserError(
            f"{corpus.source!r} has no labels to fit a classifier on: add a column 'label' (0 or 1)."
        )
    texts, labels = np.array(corpus.texts, dtype=object), np.array(corpus.labels)
    if corpus.test_labels is not None:
        test_texts, test_labels = np.array(corpus.test_texts, dtype=object), np.array(corpus.test_labels)
        accuracy_on = f"the source's own test split ({len(test_labels)} reviews)"
    else:
        held_out = _every_tenth_of_each(labels)
        test_texts, test_labels = texts[held_out], labels[held_out]
        texts, labels = texts[~held_out], labels[~held_out]
        accuracy_on = f"a held-out tenth ({len(test_labels)} reviews)"
    if len(np.unique(labels)) < 2:
        raise UserError(
            f"{corpus.source!r} needs two or more reviews of each label to fit a classifier on: add some, "
            "or name a larger source."
        )
    pipeline = _fit_pipeline(corpus.source, texts, labels)
    accuracy = float(np.mean((pipeline.decision_function(test_texts) > 0) == (test_labels == 1)))
    name = f"classifier/1:{corpus.digest[:12]}:empty={float(empty)!r}"
    return ReviewClassifier(empty, name, accuracy, accuracy_on, pipeline)


def _every_tenth_of_each(labels: npt.NDArray[np.int_]) -> npt.NDArray[np.bool_]:
    """A mask of each label's first review and every tenth after it: both labels are in it, and no draw is."""
    held_out = np.zeros(len(labels), dtype=bool)
    for label in (0, 1):
        held_out[np.flatnonzero(labels == label)[::10]] = True
    return held_out


def _fit_pipeline(source: str, texts: npt.NDArray[np.object_], labels: npt.NDArray[np.int_]) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    pipeline = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2, max_features=_MAX_FEATURES),
        LogisticRegression(C=_INVERSE_PENALTY, max_iter=1000),
    )
    try:
        return pipeline.fit(texts, labels)
    except ValueError as error:  # no word occurs in two reviews
        raise UserError(
            f"{source!r} has too few words to fit a classifier on: name a larger source."
        ) from error


_POSITIVE_LABELS = ("positive", "pos", "5 stars", "label_1")
_NEGATIVE_LABELS = ("negative", "neg", "1 star", "label_0")
_INPUT_TOKENS = 512  # tokens; responses are far shorter, and older encoders take no more
_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]


@dataclass(frozen=True)
class HubClassifier(Utility):
    """A transformers text classifier's preference for its positive label over its negative one.

    Attributes:
        empty: what a response without a word earns, in logits.
        name: version, model, a digest of its files, and `empty`.
        positive: index of the positive label's logit.
        negative: index of the negative label's; None for a model with a single logit, used as it is.
        batch_size: responses per forward pass.
        tokenizer: the model's tokenizer.
        model: the model, in evaluation mode.
    """

    empty: float
    name: str
    positive: int
    negative: int | None
    batch_size: int
    tokenizer: Any = field(repr=False, compare=False)
    model: Any = field(repr=False, compare=False)
    unit: str = "logit(positive) - logit(negative)"

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """Score the responses in batches of similar length."""
        check_lengths(prompts, responses)
        return scored_in_batches(responses, responses, self.empty, self.batch_size, self._score)

    def _score(self, responses: list[str]) -> Scores:
        import torch

        inputs = self.tokenizer(
            responses,
            padding=True,
            truncation=True,
            max_length=min(self.tokenizer.model_max_length, _INPUT_TOKENS),
            return_tensors="pt",
        ).to(self.model.device)
        with torch.inference_mode():
            logits = self.model(**inputs).logits.double().cpu().numpy()
        negative = 0.0 if self.negative is None else logits[:, self.negative]
        return np.asarray(logits[:, self.positive] - negative, dtype=np.float64)


def scored_in_batches(
    responses: Sequence[str],
    texts: Sequence[str],
    empty: float,
    batch_size: int,
    score: Callable[[list[str]], Scores],
) -> Scores:
    """Scores of all responses, those with words in batches of texts of similar length.

    Args:
        responses: `[n]`.
        texts: `[n]`, what is scored of each.
        empty: the score of a response without a word.
        batch_size: texts at a time.
        score: of `[batch]` texts.
    """
    scores = np.full(len(responses), empty, dtype=np.float64)
    kept = [index for index, response in enumerate(responses) if not is_empty(response)]
    kept.sort(key=lambda index: len(texts[index]))
    for start in range(0, len(kept), batch_size):
        batch = kept[start : start + batch_size]
        scores[batch] = score([texts[index] for index in batch])
    return scores


def load_hub_classifier(
    model: str, empty: float, *, batch_size: int = 32, device: str = "cpu"
) -> HubClassifier:
    """Load a text classifier from a folder or from the hub: safetensors weights only, no code of its own.

    Args:
        model: a folder written by `save_pretrained`, or a hub id.
        empty: what a response without a word earns, in logits.
        batch_size: responses per forward pass.
        device: where the model runs, as torch spells it.

    Returns:
        The classifier; its name changes when a file of the model does.

    Raises:
        UserError: the model cannot be found or loaded, or its labels cannot be told apart.
    """
    folder = model_folder(model)
    tokenizer, network = load_network(model, folder)
    positive, negative = _positive_and_negative(model, network.config.num_labels, network.config.id2label)
    name = f"hub_classifier/1:{model_name(model, folder)}:empty={float(empty)!r}"
    return HubClassifier(empty, name, positive, negative, batch_size, tokenizer, network.to(device).eval())


def model_folder(model: str) -> Path:
    """The folder named, or the local snapshot of the hub's model, downloaded where need be."""
    if Path(model).is_dir():
        return Path(model)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, allow_patterns=_FILES, ignore_patterns=["*/*"]))
    except Exception as error:  # the hub's errors share no base class; all of them end the same way here
        raise UserError(
            f"classifier {model!r} is no folder and could not be fetched from the hub "
            f"({message_or_type(error)}): give a folder written by save_pretrained."
        ) from error


def load_network(model: str, folder: Path) -> tuple[Any, Any]:
    """Tokenizer and network of a sequence classifier.

    Raises:
        UserError: its files are damaged, odd or too few.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        refuse_odd_files(folder, MODEL_FILES)
        tokenizer = AutoTokenizer.from_pretrained(folder, **options)
        network, wrong = weights.load(
            AutoModelForSequenceClassification, folder, use_safetensors=True, **options
        )
    except Exception as error:  # damaged files raise whatever their readers raise
        raise UserError(
            f"classifier {model!r} could not be loaded ({message_or_type(error)}): "
            "give a folder with config.json, a tokenizer and model.safetensors."
        ) from error
    if wrong is not None:
        raise UserError(f"{model!r} is no finished classifier: {wrong}.")
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise UserError(f"the tokenizer of {model!r} has no padding token: set one and save it again.")
        tokenizer.pad_token = tokenizer.eos_token
    network.config.pad_token_id = tokenizer.pad_token_id
    return tokenizer, network


def _positive_and_negative(model: str, n_labels: int, id2label: dict[int, str]) -> tuple[int, int | None]:
    """The indices of the positive and of the negative label; the latter None for a single logit."""
    if n_labels == 1:
        return 0, None
    index = {str(label).strip().lower(): int(i) for i, label in id2label.items()}
    # Labels without names follow the convention of 1 for positive, but only where there are two of them.
    positive = [index[w] for w in _POSITIVE_LABELS if w in index and (n_labels == 2 or w != "label_1")]
    negative = [index[w] for w in _NEGATIVE_LABELS if w in index and (n_labels == 2 or w != "label_0")]
    if not positive or not negative:
        listed = ", ".join(map(repr, id2label.values()))
        raise UserError(
            f"which label of {model!r} is positive cannot be told from {listed:.200}: "
            "set id2label in its config.json to POSITIVE and NEGATIVE."
        )
    return positive[0], negative[0]


def model_name(model: str, folder: Path) -> str:
    """Name that the user gave a model, of a folder its last part, and the digest of its files."""
    shown = folder.resolve().name if Path(model).is_dir() else model
    return f"{shown}:{_files_digest(folder)[:12]}"


def _files_digest(folder: Path) -> str:
    """SHA-256 (hex) over the names and contents of the files that a model's numbers depend on."""
    sha = hashlib.sha256()
    for path in sorted({path for pattern in _FILES for path in folder.glob(pattern) if path.is_file()}):
        with path.open("rb") as file:
            sha.update(path.name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
    return sha.hexdigest()
