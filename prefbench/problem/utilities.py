"""What groups care about: numbers that a response earns, larger is better.

A utility is a frozen object with a `name` that holds everything which can move its numbers, so that a
hash of the name is a hash of the utility. All but `Relevance` look at the response alone: the prompt is the
same for every response that it is compared with, and words that a policy did not write should earn it
nothing.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from prefbench import weights
from prefbench.data.corpus import Corpus
from prefbench.errors import UserError
from prefbench.files import MODEL_FILES, refuse_odd_files
from prefbench.text import count_words, is_empty, lower_words, message_or_type

__all__ = [
    "Conciseness",
    "Coverage",
    "HubClassifier",
    "Negated",
    "Readability",
    "Relevance",
    "ReviewClassifier",
    "Utility",
    "VaderSum",
    "Warmth",
    "Weighted",
    "content_words",
    "count_sentences",
    "count_syllables",
    "fit_review_classifier",
    "load_hub_classifier",
]

Scores = npt.NDArray[np.float64]


class Utility(Protocol):
    """What a group prefers: a number per response."""

    @property
    def name(self) -> str:
        """Everything that can move a number, in one line; part of the hashes of what depends on it."""
        ...

    @property
    def unit(self) -> str:
        """What one unit of the utility is, for tables and plots."""
        ...

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """Score each response (`float64 [n]`, larger is better) as the answer to the prompt beside it."""
        ...


def _check_lengths(prompts: Sequence[str], responses: Sequence[str]) -> None:
    if len(prompts) != len(responses):
        raise ValueError(
            f"{len(prompts)} prompts but {len(responses)} responses: one of each belong together."
        )


# --- word valences ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class VaderSum:
    """The sum of VADER's word valences, which grows with every pleased word and does not saturate.

    VADER's own compound score is squeezed into (-1, 1) and so hardly tells five pleased words from ten;
    its rules for negation and emphasis are left out with it, so the utility is additive over words.

    Attributes:
        empty: what a response without a word earns, in valence.
    """

    empty: float

    @property
    def name(self) -> str:
        """The utility's version, the lexicon's digest and `empty`."""
        return f"vader_sum/1:{_vader()[1][:12]}:empty={float(self.empty)!r}"

    @property
    def unit(self) -> str:
        """Summed valence; single words lie between -4 and 4."""
        return "summed VADER valence"

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """Sum the valences of each response's words; words outside the lexicon count zero."""
        _check_lengths(prompts, responses)
        return np.array([self._score(response) for response in responses], dtype=np.float64)

    def _score(self, response: str) -> float:
        words = lower_words(response)
        lexicon = _vader()[0]
        return float(sum(lexicon.get(word, 0.0) for word in words)) if words else self.empty


@functools.cache
def _vader() -> tuple[dict[str, float], str]:
    """The lexicon of the installed vaderSentiment package, and the SHA-256 (hex) of its file."""
    # Reading the file itself spares the import, which builds an emoji table that words have no use for.
    spec = importlib.util.find_spec("vaderSentiment")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        path = Path(folder) / "vader_lexicon.txt"
        if path.is_file():
            content = path.read_bytes()
            break
    else:
        raise UserError("VADER's lexicon is not installed: pip install vaderSentiment.")
    fields = (line.split("\t") for line in content.decode("utf-8").splitlines() if line.strip())
    return {row[0]: float(row[1]) for row in fields}, hashlib.sha256(content).hexdigest()


_NEUTRAL_WORDS = 20


@dataclass(frozen=True)
class Warmth:
    """How pleased a response sounds, whatever its length: VADER's valence per hundred different words.

    100 sum(valence of different words) / (different words + 20). Each word counts once, so that a response
    stuck in a loop is no warmer for it; the twenty, which are as if neutral, keep a single kind word from
    being warmer than any letter.

    Attributes:
        empty: what a response without a word earns, in valence per hundred words.
    """

    empty: float

    @property
    def name(self) -> str:
        """The utility's version, the lexicon's digest and `empty`."""
        return f"warmth/1:{_vader()[1][:12]}:empty={float(self.empty)!r}"

    @property
    def unit(self) -> str:
        """Valence, where single words lie between -4 and 4, of a hundred words."""
        return "VADER valence per 100 words"

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """Weigh the valences of each response's different words; words outside the lexicon count zero."""
        _check_lengths(prompts, responses)
        return np.array([self._score(response) for response in responses], dtype=np.float64)

    def _score(self, response: str) -> float:
        # In order of first occurrence: floating-point sums depend on it, and a set's order on the process.
        words = dict.fromkeys(lower_words(response))
        lexicon = _vader()[0]
        total = sum(lexicon.get(word, 0.0) for word in words)
        return 100 * total / (len(words) + _NEUTRAL_WORDS) if words else self.empty


# --- brevity ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Conciseness:
    """Minus the number of words: shorter is better, and saying nothing is not being short.

    Attributes:
        empty: what a response without a word earns, in (negative) words.
    """

    empty: float

    @property
    def name(self) -> str:
        """The utility's version and `empty`."""
        return f"conciseness/1:empty={float(self.empty)!r}"

    @property
    def unit(self) -> str:
        """Words, counted downwards from zero."""
        return "words (negative)"

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """Count each response's words, negatively."""
        _check_lengths(prompts, responses)
        counts = np.array([count_words(response) for response in responses], dtype=np.float64)
        return np.where(counts > 0, -counts, self.empty)


# --- coverage ---------------------------------------------------------------------------------------------

_CONTENT_LETTERS = 4
# Shorter words are no content words anyway. "couldn" and its like are what stands before an apostrophe.
_STOP_WORDS = frozenset(
    """
    about above according across after afterwards again against ahead almost alone along already also
    although always amid among amongst another anybody anyhow anyone anything anyway anywhere apart aren
    around aside away back became because become becomes been before beforehand behind being below beneath
    beside besides between beyond both came cannot come comes could couldn despite didn does doesn doing
    done down during each either else elsewhere enough especially even ever every everybody everyone
    everything everywhere except first five former formerly four from further furthermore gave gets getting
    give given gives giving goes going gone hadn hardly hasn have haven having hence here hereby herself
    himself however indeed inside instead into itself just keep keeps kept last later latter least less lest
    like likely made mainly make makes making many maybe mean meanwhile might mightn mine more moreover most
    mostly much must mustn myself namely near nearly needn neither never nevertheless next nine nobody none
    nonetheless nothing notwithstanding nowhere often once ones only onto other others otherwise ought ours
    ourselves outside over perhaps please quite rather really regarding same seem seemed seeming seems seven
    several shall shan should shouldn since some somebody somehow someone something sometime sometimes
    somewhat somewhere soon still such take taken takes taking than that their theirs them themselves then
    thence there thereafter thereby therefore therein these they thing things this those though three
    through throughout thus till together toward towards under unless unlike until upon used using usually
    various very want wants wasn well went were weren what whatever when whence whenever where whereas
    whereby wherein whereupon wherever whether which whichever while whoever whole whom whose will with
    within without would wouldn your yours yourself yourselves
    """.split()
)


@dataclass(frozen=True)
class Coverage:
    """How much a response speaks of: the number of its different content words.

    A word that is repeated counts once, so that this grows more slowly than length does. Words of the prompt
    count as well: a response that does not take them up is the poorer for it.

    Attributes:
        empty: what a response without a word earns, in content words.
    """

    empty: float

    @property
    def name(self) -> str:
        """The utility's version and `empty`."""
        return f"coverage/1:empty={float(self.empty)!r}"

    @property
    def unit(self) -> str:
        """Different content words."""
        return "content words"

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """Count each response's different content words."""
        _check_lengths(prompts, responses)
        return np.array([self._score(response) for response in responses], dtype=np.float64)

    def _score(self, response: str) -> float:
        return self.empty if is_empty(response) else float(len(content_words(response)))


def content_words(text: str) -> set[str]:
    """The different words of `text`, in lower case, that are no stop words and have four letters or more.

    What follows an apostrophe is left out, so that "the dog's" and "dogs'" add no words of their own to "dog"
    and "dogs". The stop words are English.
    """
    words = {word.partition("'")[0] for word in lower_words(text)}
    return {word for word in words - _STOP_WORDS if _count_letters(word) >= _CONTENT_LETTERS}


def _count_letters(word: str) -> int:
    return len(word) if word.isalpha() else sum(map(str.isalpha, word))


# --- readability ------------------------------------------------------------------------------------------

_FLESCH = (206.835, 1.015, 84.6)
_FLESCH_RANGE = (-100.0, 121.0)  # the upper end is near what one short word a sentence earns
# A run is looked at from its first mark only, and once: a page of dots takes no longer than a page of words.
_SENTENCE_END = re.compile(r"(?<![.!?])[.!?]++[\"')\]\u2019\u201d*_]*+(?=\s|$)|\n")


@dataclass(frozen=True)
class Readability:
    """How easily a response reads: Flesch's reading ease of English, clipped to [-100, 121].

    206.835 - 1.015 words per sentence - 84.6 syllables per word (Flesch, A new readability yardstick, Journal
    of Applied Psychology 32, 1948). Syllables are pyphen's hyphenation points and one, which misses some that
    no line is broken at: "even" counts as one. Scores are therefore a little higher than by ear.

    Attributes:
        empty: what a response without a word earns, in Flesch points.
    """

    empty: float

    @property
    def name(self) -> str:
        """The utility's version, the digest of the hyphenation patterns and `empty`."""
        return f"readability/1:{_hyphenation()[1][:12]}:empty={float(self.empty)!r}"

    @property
    def unit(self) -> str:
        """Points of reading ease; plain English has 60 to 70."""
        return "Flesch points"

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """Reading ease of each response."""
        _check_lengths(prompts, responses)
        return np.array([self._score(response) for response in responses], dtype=np.float64)

    def _score(self, response: str) -> float:
        words = lower_words(response)
        if not words:
            return self.empty
        syllables = sum(map(count_syllables, words))
        constant, per_sentence, per_word = _FLESCH
        ease = (
            constant
            - per_sentence * len(words) / count_sentences(response)
            - per_word * syllables / len(words)
        )
        low, high = _FLESCH_RANGE
        return min(max(ease, low), high)


def count_sentences(text: str) -> int:
    """How many sentences `text` has: pieces with a word in them, between full stops, ! and ?, and line ends.

    A line end counts so that a list or a heading is not one endless sentence.
    """
    return sum(not is_empty(piece) for piece in _SENTENCE_END.split(text))


@functools.lru_cache(maxsize=1 << 17)
def count_syllables(word: str) -> int:
    """How many syllables a word has, at least one, by the hyphenation of American English.

    The parts of a word with hyphens are counted each for itself.
    """
    hyphens = _hyphenation()[0]
    return sum(len(hyphens.positions(part)) + 1 for part in word.split("-"))


@functools.cache
def _hyphenation() -> tuple[Any, str]:
    """pyphen's patterns for American English, and the SHA-256 (hex) of their file."""
    import pyphen

    content = Path(pyphen.LANGUAGES["en_US"]).read_bytes()
    return pyphen.Pyphen(lang="en_US"), hashlib.sha256(content).hexdigest()


# --- relevance --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Relevance:
    """Whether a response takes up what it was asked about: the share of the prompt's content words in it.

    Words count in the form that the prompt has them in. A prompt without a content word can be taken up by
    no response, and all of them earn zero. This is the one utility here that reads the prompt.

    Attributes:
        empty: what a response without a word earns, as a share.
    """

    empty: float

    @property
    def name(self) -> str:
        """The utility's version and `empty`."""
        return f"relevance/1:empty={float(self.empty)!r}"

    @property
    def unit(self) -> str:
        """Share of the prompt's content words, 0 to 1."""
        return "share of the prompt's content words"

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """Share of each prompt's different content words that the response beside it has."""
        _check_lengths(prompts, responses)
        pairs = zip(prompts, responses, strict=True)
        return np.array([self._score(prompt, response) for prompt, response in pairs], dtype=np.float64)

    def _score(self, prompt: str, response: str) -> float:
        if is_empty(response):
            return self.empty
        asked = content_words(prompt)
        return len(asked & content_words(response)) / max(1, len(asked))


# --- utilities made of others -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Negated:
    """The opposite of another utility, but for a response without a word.

    Attributes:
        utility: what is negated.
        empty: what a response without a word earns, in the utility's unit; negating what the other gives
            silence would make it a prize.
    """

    utility: Utility
    empty: float

    @property
    def name(self) -> str:
        """The utility's version, the other's name and `empty`."""
        return f"negated/1:({self.utility.name}):empty={float(self.empty)!r}"

    @property
    def unit(self) -> str:
        """The other's unit, counted downwards."""
        return f"{self.utility.unit} (negative)"

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """Minus the other utility."""
        silent = np.fromiter(map(is_empty, responses), bool, len(responses))
        scores: Scores = np.where(silent, self.empty, -self.utility(prompts, responses))
        return scores


@dataclass(frozen=True)
class Weighted:
    """A weighted sum of utilities: what a group wants most, and what else it values.

    A response without a word earns the same sum of what it earns by each part.

    Attributes:
        parts: each part's weight and utility; a weight is in units of the sum per unit of the part.
    """

    parts: tuple[tuple[float, Utility], ...]

    @property
    def name(self) -> str:
        """The utility's version, and every part's weight and name."""
        parts = " + ".join(f"{float(weight)!r} * ({utility.name})" for weight, utility in self.parts)
        return f"weighted/1:{parts}"

    @property
    def unit(self) -> str:
        """Every part's weight and unit."""
        return " + ".join(
            utility.unit if weight == 1 else f"{weight:g} x {utility.unit}" for weight, utility in self.parts
        )

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """Sum the parts of each response."""
        total = np.zeros(len(responses), dtype=np.float64)
        for weight, utility in self.parts:
            total += weight * utility(prompts, responses)
        return total


# --- a classifier fitted here -----------------------------------------------------------------------------

_MAX_FEATURES = 60_000  # IMDB's accuracy no longer rises beyond this, and the fit stays within seconds
_INVERSE_PENALTY = 8.0


@dataclass(frozen=True)
class ReviewClassifier:
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
        _check_lengths(prompts, responses)
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
        raise UserError(f"{corpus.source!r} needs two or more reviews of each label to fit a classifier on.")
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


# --- a classifier from the hub ----------------------------------------------------------------------------

_POSITIVE_LABELS = ("positive", "pos", "5 stars", "label_1")
_NEGATIVE_LABELS = ("negative", "neg", "1 star", "label_0")
_LONGEST_INPUT = 512  # tokens; responses are far shorter, and older encoders take no more
_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]


@dataclass(frozen=True)
class HubClassifier:
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
        _check_lengths(prompts, responses)
        scores = np.full(len(responses), self.empty, dtype=np.float64)
        kept = [index for index, response in enumerate(responses) if not is_empty(response)]
        kept.sort(key=lambda index: len(responses[index]))
        for start in range(0, len(kept), self.batch_size):
            batch = kept[start : start + self.batch_size]
            scores[batch] = self._score([responses[index] for index in batch])
        return scores

    def _score(self, responses: list[str]) -> Scores:
        import torch

        inputs = self.tokenizer(
            responses,
            padding=True,
            truncation=True,
            max_length=min(self.tokenizer.model_max_length, _LONGEST_INPUT),
            return_tensors="pt",
        ).to(self.model.device)
        with torch.inference_mode():
            logits = self.model(**inputs).logits.double().cpu().numpy()
        negative = 0.0 if self.negative is None else logits[:, self.negative]
        return np.asarray(logits[:, self.positive] - negative, dtype=np.float64)


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
    folder = _model_folder(model)
    tokenizer, network = _load_network(model, folder)
    positive, negative = _positive_and_negative(model, network.config.num_labels, network.config.id2label)
    shown = folder.resolve().name if Path(model).is_dir() else model
    name = f"hub_classifier/1:{shown}:{_files_digest(folder)[:12]}:empty={float(empty)!r}"
    return HubClassifier(empty, name, positive, negative, batch_size, tokenizer, network.to(device).eval())


def _model_folder(model: str) -> Path:
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


def _load_network(model: str, folder: Path) -> tuple[Any, Any]:
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


def _files_digest(folder: Path) -> str:
    """SHA-256 (hex) over the names and contents of the files that a model's numbers depend on."""
    sha = hashlib.sha256()
    for path in sorted({path for pattern in _FILES for path in folder.glob(pattern) if path.is_file()}):
        with path.open("rb") as file:
            sha.update(path.name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
    return sha.hexdigest()
