import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from prefbench.data.reviews import load_reviews
from prefbench.errors import UserError
from prefbench.evaluate import classifiers
from prefbench.evaluate.classifiers import fit_review_classifier, load_hub_classifier
from prefbench.problem.corpus import Corpus
from prefbench.problem.utilities import sentiment
from prefbench.problem.utilities.content import Conciseness
from prefbench.problem.utilities.protocol import Utility
from prefbench.problem.utilities.sentiment import VaderSum
from prefbench.text import count_words, is_empty

IMDB = Path(__file__).parents[3] / "shared" / "data" / "imdb"
SAMPLES = ["a great film.", "", " ...!", "dull", "so very, very long and well-made", "🙂"]
BLANK = [False, True, True, False, False, True]


def score(utility: Utility, *responses: str) -> list[float]:
    return list(utility([""] * len(responses), responses))


# --- words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("... -- !? _", 0),
        ("🙂 ♥", 0),
        ("don't stop", 2),
        ("don\u2019t stop", 2),
        ("a well-made film", 3),
        ("great--but long", 3),
        ("'great' _great_ -great- great,great", 5),
        ("10 out of 10.", 4),
        ("très été", 2),
    ],
)
def test_words_are_counted_as_people_do(text, words):
    assert count_words(text) == words
    assert is_empty(text) == (words == 0)


@given(st.text(), st.text())
def test_words_add_up_over_a_space(a, b):
    assert count_words(f"{a} {b}") == count_words(a) + count_words(b)
    assert is_empty(a) == (count_words(a) == 0)


# --- valences and brevity


@given(st.lists(st.text()))
def test_conciseness_is_minus_the_count(texts):
    expected = [-count_words(text) if count_words(text) else -99.0 for text in texts]
    assert score(Conciseness(-99.0), *texts) == expected


words = st.lists(
    st.sampled_from(["great", "awful", "the", "boring", "Lovely", "GOOD", "don't", "zyx", "x1"]), min_size=1
)


@given(words, words, st.sampled_from([" ", ", ", ". ", " -- ", "\n"]))
def test_valence_is_additive(a, b, joint):
    left, right, both = score(
        VaderSum(-7.0), " ".join(a), " ".join(b), joint.join([" ".join(a), " ".join(b)])
    )
    assert math.isclose(left + right, both, abs_tol=1e-9)


@given(st.text(), st.text())
def test_valence_is_additive_over_any_text(a, b):
    assume(not is_empty(a) and not is_empty(b))
    left, right, both = score(VaderSum(-7.0), a, b, f"{a} {b}")
    assert math.isclose(left + right, both, abs_tol=1e-9)


def test_valence_is_the_lexicons_and_ignores_case_and_punctuation():
    assert score(VaderSum(-7.0), "great", "GREAT!!!", "'great'", "not great", "the") == [
        3.1,
        3.1,
        3.1,
        3.1,
        0.0,
    ]
    assert score(VaderSum(-7.0), "awful", "great awful") == [-2.0, pytest.approx(1.1)]


def test_valence_agrees_with_the_package_word_by_word():
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    lexicon = {w: v for w, v in SentimentIntensityAnalyzer().lexicon.items() if w.isalpha() and w.islower()}
    assert len(lexicon) > 6000
    assert score(VaderSum(-7.0), *lexicon) == list(lexicon.values())


def test_valence_does_not_saturate():
    scores = score(VaderSum(-7.0), *(" ".join(["great"] * n) for n in range(1, 60)))
    assert np.allclose(np.diff(scores), 3.1)


@pytest.mark.parametrize("make", [VaderSum, Conciseness])
def test_empty_responses_earn_what_was_set(make):
    scores = make(-12.5)(SAMPLES, SAMPLES)
    assert scores.dtype == np.float64 and scores.shape == (len(SAMPLES),)
    assert [value == -12.5 for value in scores] == BLANK
    assert make(-12.5)([], []).shape == (0,)


@pytest.mark.parametrize("make", [VaderSum, Conciseness])
def test_the_prompt_earns_nothing_and_the_lengths_must_agree(make):
    utility = make(0.0)
    assert list(utility(["a great day"], ["x"])) == list(utility(["the"], ["x"]))
    with pytest.raises(ValueError, match="2 prompts but 1 responses"):
        utility(["a", "b"], ["c"])


def test_names_hold_what_can_move_a_number():
    assert Conciseness(-1).name == Conciseness(-1.0).name == "conciseness/1:empty=-1.0"
    assert len({make(e).name for make in (VaderSum, Conciseness) for e in (-1.0, -2.0)}) == 4
    assert VaderSum(-1.0).name.startswith("vader_sum/1:")
    assert all(utility.unit for utility in (VaderSum(0.0), Conciseness(0.0)))


def test_missing_lexicon_is_the_users_error(monkeypatch):
    monkeypatch.setattr(sentiment.importlib.util, "find_spec", lambda name: None)
    sentiment._vader.cache_clear()
    with pytest.raises(UserError, match="pip install"):
        score(VaderSum(0.0), "x")
    sentiment._vader.cache_clear()


# --- a classifier fitted here


def small_corpus(n: int = 400, test: int = 0) -> Corpus:
    from prefbench_tasks.synthetic_reviews import synthetic_reviews

    written = synthetic_reviews(n + test, np.random.default_rng(0))
    held = (written.texts[n:], written.labels[n:]) if test else ((), None)
    return Corpus("synthetic", written.texts[:n], written.labels[:n], *held)


def test_review_classifier_ranks_tone_and_is_deterministic():
    corpus = small_corpus(1200, test=1000)
    first, second = (fit_review_classifier(corpus, -9.0) for _ in range(2))
    assert first == second
    assert score(first, *corpus.texts[:50]) == score(second, *corpus.texts[:50])
    good, bad, nothing = score(first, "was wonderful and superb.", "was awful and horrid.", "...")
    assert good > 1 and bad < -1 and nothing == -9.0
    # A quarter of these reviews have no valenced word, so that even 20,000 of them only give 0.77; with
    # 1,200 it is 0.71, and 1,000 test reviews leave a standard error of 0.014.
    assert first.accuracy > 0.65
    assert fit_review_classifier(corpus, -8.0).name != first.name
    assert first([], []).shape == (0,) and score(first, "") == [-9.0]
    with pytest.raises(ValueError, match="belong together"):
        first(["a"], [])


def test_review_classifier_scores_the_response_alone():
    fitted = fit_review_classifier(small_corpus(), 0.0)
    assert list(fitted(["wonderful"], ["is dull"])) == list(fitted(["awful"], ["is dull"]))


def test_review_classifier_prefers_the_sources_own_test_split():
    fitted = fit_review_classifier(small_corpus(400, test=100), 0.0)
    assert fitted.accuracy_on == "the source's own test split (100 reviews)"


def test_held_out_reviews_are_not_fitted_on(monkeypatch):
    corpus = small_corpus(200)
    seen: list[str] = []
    real = classifiers._fit_pipeline

    def spy(source, texts, labels):
        seen.extend(texts)
        return real(source, texts, labels)

    monkeypatch.setattr(classifiers, "_fit_pipeline", spy)
    fitted = fit_review_classifier(corpus, 0.0)
    held_out = set(corpus.texts) - set(seen)
    assert f"({len(held_out)} reviews)" in fitted.accuracy_on
    assert 0.09 < len(held_out) / 200 < 0.12


@pytest.mark.parametrize(
    ("texts", "labels", "says"),
    [
        (("a b", "c d"), None, "no labels"),
        (("a b", "c d", "e f"), (1, 1, 1), "two or more reviews of each"),
        (("a b", "c d"), (0, 1), "two or more reviews of each"),
        (("aa bb", "cc dd", "ee ff", "gg hh"), (0, 1, 0, 1), "too few words"),
    ],
)
def test_corpora_that_cannot_be_fitted(texts, labels, says):
    with pytest.raises(UserError, match=says):
        fit_review_classifier(Corpus("mine", texts, labels), 0.0)


@pytest.mark.slow
@pytest.mark.skipif(not IMDB.is_dir(), reason=f"the real reviews are not at {IMDB}")
def test_review_classifier_on_real_reviews():
    fitted = fit_review_classifier(load_reviews(str(IMDB), 20_000), 0.0)
    assert fitted.accuracy > 0.895
    assert "test split" in fitted.accuracy_on


# --- a classifier from a folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A function that saves a tiny untrained classifier with the given labels and gives its folder."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    vocabulary = {w: i for i, w in enumerate(["[PAD]", "[UNK]", "a", "great", "dull", "film", "."])}

    def save(id2label: dict[int, str], pad: str | None = "[PAD]", seed: int = 0) -> Path:
        folder = tmp_path_factory.mktemp("classifier") / "tiny"
        inner = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
        inner.pre_tokenizer = pre_tokenizers.Whitespace()
        PreTrainedTokenizerFast(
            tokenizer_object=inner, pad_token=pad, unk_token="[UNK]", model_max_length=16
        ).save_pretrained(folder)
        config = BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            intermediate_size=8,
            max_position_embeddings=16,
            id2label=id2label,
            label2id={label: i for i, label in id2label.items()},
            initializer_range=0.5,
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            BertForSequenceClassification(config).save_pretrained(folder)
        return folder

    return save


def test_hub_classifier_is_the_difference_of_logits_in_any_batching(saved):
    folder = saved({0: "NEGATIVE", 1: "POSITIVE"})
    responses = ["a great film .", "dull", "", "a a a a a great", "a " * 40, "great film", "!"]
    single, batched = (load_hub_classifier(str(folder), -3.0, batch_size=n) for n in (1, 4))
    assert np.allclose(score(single, *responses), score(batched, *responses), atol=1e-5)
    assert score(single, *responses)[2] == -3.0 and score(single, "", "...") == [-3.0, -3.0]
    assert single.name.startswith("hub_classifier/1:tiny:") and single.name == batched.name

    import torch

    tokens = single.tokenizer(["a great film ."], return_tensors="pt")
    with torch.no_grad():
        logits = single.model(**tokens).logits[0]
    assert score(single, "a great film .")[0] == pytest.approx(float(logits[1] - logits[0]), abs=1e-6)

    swapped = load_hub_classifier(str(saved({0: "pos", 1: "neg"})), -3.0)
    assert np.allclose(score(swapped, "dull", "great"), -np.array(score(single, "dull", "great")), atol=1e-6)


@pytest.mark.parametrize(
    ("labels", "indices"),
    [
        (["NEGATIVE", "POSITIVE"], (1, 0)),
        (["LABEL_0", "LABEL_1"], (1, 0)),
        (["positive", "neutral", "negative"], (0, 2)),
        (["1 star", "2 stars", "3 stars", "4 stars", "5 stars"], (4, 0)),
        (["score"], (0, None)),
    ],
)
def test_labels_are_told_apart(labels, indices):
    assert classifiers._positive_and_negative("m", len(labels), dict(enumerate(labels))) == indices


@pytest.mark.parametrize(
    "labels", [["joy", "anger"], ["LABEL_0", "LABEL_1", "LABEL_2"], ["positive", "other"]]
)
def test_labels_that_cannot_be_told_apart(labels):
    with pytest.raises(UserError, match="id2label"):
        classifiers._positive_and_negative("m", len(labels), dict(enumerate(labels)))


def test_single_logit_models_use_it_as_it_is(saved):
    regression = load_hub_classifier(str(saved({0: "LABEL_0"})), 0.0)
    assert regression.negative is None
    assert all(math.isfinite(value) for value in score(regression, "a great film", "dull"))


def test_name_moves_with_the_weights(saved):
    labels = {0: "neg", 1: "pos"}
    names = [load_hub_classifier(str(saved(labels, seed=seed)), 0.0).name for seed in (0, 0, 1)]
    assert names[0] == names[1] != names[2]


def test_classifiers_that_cannot_be_loaded(saved, tmp_path, monkeypatch):
    from safetensors.numpy import load_file, save_file

    with pytest.raises(UserError, match="could not be loaded"):
        load_hub_classifier(str(tmp_path), 0.0)
    folder = saved({0: "neg", 1: "pos"})
    weights = load_file(folder / "model.safetensors")
    save_file({k: v for k, v in weights.items() if "classifier" not in k}, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"lack .* such as classifier"):
        load_hub_classifier(str(folder), 0.0)
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match="could not be loaded") as caught:
        load_hub_classifier(str(folder), 0.0)
    assert "\n" not in str(caught.value)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"never unpickled")
    with pytest.raises(UserError, match="could not be loaded"):
        load_hub_classifier(str(folder), 0.0)
    with pytest.raises(UserError, match="no padding token"):
        load_hub_classifier(str(saved({0: "neg", 1: "pos"}, pad=None)), 0.0)

    def offline(*args, **kwargs):
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(UserError, match="give a folder"):
        load_hub_classifier("someone/something", 0.0)


@pytest.fixture(scope="module")
def classifier(saved):
    return load_hub_classifier(str(saved({0: "neg", 1: "pos"})), -3.0, batch_size=2)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(["a", "great", "dull film", "", "?"]), max_size=6))
def test_hub_classifier_keeps_the_order(classifier, responses):
    alone = [score(classifier, response)[0] for response in responses]
    assert np.allclose(score(classifier, *responses), alone, atol=1e-5)
