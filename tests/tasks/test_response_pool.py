"""Pools of answers: which rows stay, what linear rewards see of them, and whole runs."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefbench import seeds
from prefbench.data.pool import MIN_PROMPTS, Pool, make_pool, read_answers, text_features
from prefbench.problem.utilities.content import Conciseness, Coverage
from prefbench.running.run import run
from prefbench.spec import make_spec
from prefbench_tasks.response_pool import UTILITIES, _drawn, _split, response_pool, synthetic_answers
from support.refusals import refusal

REAL = Path(__file__).parents[3] / "shared" / "data" / "alpaca_eval_pool.parquet"
COLUMNS = ("instruction", "model", "output")
SMALL = {"annotators": "8", "pairs_per_annotator": "10"}


def answers(prompts=30, models=("a", "b", "c")):
    """A clean table: every answer has a length and words of its own."""
    nouns = ("bread", "stone", "water", "copper")
    return [
        (f"prompt {i}", model, f"{model} says {i}: {', '.join(nouns[: 1 + (i + 2 * j) % 4] * (1 + j))}.")
        for i in range(prompts)
        for j, model in enumerate(models)
    ]


def write(path: Path, rows) -> Path:
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    if path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    elif path.suffix == ".csv":
        frame.to_csv(path, index=False, quoting=csv.QUOTE_ALL)
    else:
        frame.to_json(path, orient="records", lines=True)
    return path


# --- which rows stay


def test_a_clean_table_stays_whole_in_any_order():
    rows = answers()
    pool = make_pool("t", rows)
    assert pool == make_pool("t", rows[::-1])
    assert pool.models == ("a", "b", "c") and len(pool.prompts) == 30
    for prompt, row in zip(pool.prompts, pool.responses, strict=True):
        assert [(prompt, model, text) in rows for model, text in zip(pool.models, row, strict=True)] == [
            True
        ] * 3
    assert pool.report == {
        "rows": 90,
        "rows_without_prompt_or_model": 0,
        "rows_repeated": 0,
        "prompts": 30,
        "prompts_dropped": {"missing": 0, "empty": 0, "same_text": 0},
        "models_dropped": [],
        "models": ["a", "b", "c"],
    }


def test_the_first_of_repeated_rows_stays():
    rows = answers()
    pool = make_pool("t", [*rows, ("prompt 3", "b", "changed my mind"), rows[0]])
    assert pool.report["rows_repeated"] == 2
    assert pool.responses == make_pool("t", rows).responses


def test_prompts_go_for_what_one_model_lacks():
    rows = dict(((prompt, model), text) for prompt, model, text in answers(60))
    del rows["prompt 0", "a"]
    rows["prompt 1", "b"] = " \n"
    rows["prompt 2", "c"] = "..."  # no word in it
    rows["prompt 3", "c"] = rows["prompt 3", "a"]
    rows["prompt 60", "a"] = "only one model was asked"
    rows["", "a"] = rows["prompt 4", " "] = "nobody asked, nobody said"
    pool = make_pool("t", [(*key, text) for key, text in rows.items()])
    assert pool.prompts == tuple(sorted(f"prompt {i}" for i in range(4, 60)))
    assert pool.report["prompts_dropped"] == {"missing": 2, "empty": 2, "same_text": 1}
    assert pool.report["rows_without_prompt_or_model"] == 2
    assert pool.report["models_dropped"] == []


@pytest.mark.parametrize("lack", ["missing", "empty", "copied"])
def test_a_model_that_lacks_more_than_a_tenth_goes_before_the_prompts(lack):
    def table(gap):
        for prompt, model, text in answers(40):
            if model == "c" and int(prompt.split()[1]) < gap:
                if lack == "missing":
                    continue
                text = "" if lack == "empty" else first[prompt]
            yield prompt, model, text

    first = {prompt: text for prompt, model, text in answers(40) if model == "a"}
    kept, without = make_pool("t", table(4)), make_pool("t", table(5))
    assert kept.models == ("a", "b", "c") and len(kept.prompts) == 36
    assert without.models == ("a", "b") and len(without.prompts) == 40
    assert without.report["models_dropped"] == ["c"]


def test_prompts_of_one_model_alone_speak_against_no_other():
    rows = [*answers(30), *((f"extra {i}", "a", f"word {i}") for i in range(100))]
    pool = make_pool("t", rows)
    assert pool.models == ("a", "b", "c") and len(pool.prompts) == 30


def test_too_little_is_refused():
    assert "of 0 models 0 answered" in refusal(make_pool, "t", [])
    assert "two are needed" in refusal(make_pool, "t", answers(models=("a",)))
    apart = [(f"{model} {prompt}", model, text) for prompt, model, text in answers()]
    assert "of 3 models 0 answered" in refusal(make_pool, "t", apart)
    few = refusal(make_pool, "t", answers(MIN_PROMPTS - 1))
    assert few.startswith(f"'t' has {MIN_PROMPTS - 1} prompts") and f"{MIN_PROMPTS} are needed" in few
    assert len(make_pool("t", answers(MIN_PROMPTS)).prompts) == MIN_PROMPTS


cells = st.sampled_from(["", " ", ".", "one", "two words", "a third"])


@given(st.lists(st.tuples(st.sampled_from(["p", "q", ""]), st.sampled_from(["a", "b", "c"]), cells)))
def test_whatever_is_added_a_pool_is_sound(rows):
    pool = make_pool("t", [*rows, *answers(40)])
    assert len(pool.prompts) >= 40 and len(pool.models) == 3
    assert all(len(set(row)) == 3 and all(text.strip(" .") for text in row) for row in pool.responses)
    dropped = sum(pool.report["prompts_dropped"].values())
    assert len(pool.prompts) + dropped == pool.report["prompts"]


# --- reading


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.jsonl"])
def test_every_format_gives_the_same_rows(tmp_path, name):
    rows = [*answers(3), ("x, y\nz", "a", 'said "NA"'), ("x", "b", "NA")]
    assert read_answers(str(write(tmp_path / name, rows)), COLUMNS) == (name, rows)


def test_missing_cells_are_empty_strings_and_half_characters_are_mended(tmp_path):
    path = tmp_path / "t.jsonl"
    lines = [
        '{"instruction": "p", "model": "a", "output": null}',
        '{"instruction": "p", "output": "\\ud800!"}',
    ]
    path.write_text("\n".join(lines))
    assert read_answers(str(path), COLUMNS)[1] == [("p", "a", ""), ("p", "", "?!")]
    frame = pd.DataFrame({"instruction": ["p", None], "model": ["a", "b"], "output": ["x", "y"]})
    frame.to_parquet(tmp_path / "t.parquet")
    assert read_answers(str(tmp_path / "t.parquet"), COLUMNS)[1] == [("p", "a", "x"), ("", "b", "y")]


def test_columns_can_be_named(tmp_path):
    frame = pd.DataFrame(answers(), columns=["ask", "who", "said"])
    frame.to_parquet(tmp_path / "t.parquet")
    named = {"instruction_column": "ask", "model_column": "who", "output_column": "said"}
    problem = response_pool(str(tmp_path / "t.parquet"), 0.2, 0, annotators=5, pairs_per_annotator=2, **named)
    assert problem.report["source"] == "t.parquet" and problem.report["states"] == 30
    assert "name three different ones" in refusal(
        response_pool, str(tmp_path / "t.parquet"), 0.2, 0, model_column="output"
    )


@pytest.mark.parametrize(
    "data", ["nowhere.parquet", "", ".", "a\0b", "x" * 5000, "~nobody-of-that-name/t.csv"]
)
def test_a_file_that_is_not_there_is_named(data):
    assert "is no file: name a parquet, csv or jsonl table" in refusal(response_pool, data, 0.2, 0)


def test_bad_files_are_refused(tmp_path):
    def told(name, content):
        (tmp_path / name).write_bytes(content)
        return refusal(response_pool, str(tmp_path / name), 0.2, 0)

    assert "'t.txt': tables are read from .parquet" in told("t.txt", b"x")
    assert "'t.csv' is empty" in told("t.csv", b"")
    assert "'t.parquet' is not readable as parquet" in told("t.parquet", b"PAR1 and no more")
    assert "'u.csv' is not readable as csv" in told("u.csv", b"instruction,model,output\n\xff,a,b\n")
    assert "line 1 is not JSON" in told("t.jsonl", b"{")
    missing = told("m.jsonl", b'{"instruction": "p", "who": "a", "output": "x"}')
    assert "'m.jsonl' has no column 'model' but 'instruction', 'who', 'output'" in missing
    number = told("n.jsonl", b'{"instruction": "p", "model": 7, "output": "x"}')
    assert "column 'model' has no text but 7 in row 1" in number
    assert "has no column" in told("e.jsonl", b"\n")


# --- options


def test_groups_must_differ_and_pairs_must_exist(tmp_path):
    same = refusal(response_pool, "synthetic", 0.2, 0, majority="style", minority="style")
    assert same.startswith("both groups want style: set task.majority and task.minority")
    path = str(write(tmp_path / "t.csv", answers(20, ("a", "b"))))
    # 20 prompts: five to test on, two to validate on, thirteen with a single pair each.
    assert len(response_pool(path, 0.2, 0, annotators=13, pairs_per_annotator=1).prompts.train) == 13
    many = refusal(response_pool, path, 0.2, 0, annotators=14, pairs_per_annotator=1)
    assert many.startswith("13 train prompts with 2 answers each have 13 pairs, but 14 are asked for: lower")


def test_a_table_that_gives_a_group_nothing_to_want_is_refused(tmp_path):
    rows = [(f"p {i}", model, f"{model} it is.") for i in range(20) for model in ("brick", "stone")]
    path = str(write(tmp_path / "t.csv", rows))
    message = refusal(response_pool, path, 0.2, 0, annotators=4, pairs_per_annotator=2)
    assert "all answers to a prompt look alike" in message
    rows += [(f"p {i}", "long", "brick and stone it is, ay.") for i in range(20)]
    path = str(write(tmp_path / "t.csv", rows))
    message = refusal(response_pool, path, 0.2, 0, majority="style", annotators=4, pairs_per_annotator=2)
    assert "indifferent" in message


@pytest.mark.parametrize(("majority", "minority"), [("coverage", "brevity"), ("readability", "style")])
def test_utilities_are_those_of_the_texts(majority, minority):
    problem = response_pool("synthetic", 0.3, 1, majority=majority, minority=minority)
    assert [(g.name, g.share) for g in problem.groups] == [(majority, 0.7), (minority, 0.3)]
    assert problem.minority == minority and set(problem.report["utilities"]) == {majority, minority}
    prompts = list(problem.prompts.test)
    rng = np.random.default_rng(0)
    world = problem.world
    texts = [world.responses[world.state[prompt]][rng.integers(6)] for prompt in prompts]
    for group in problem.groups:
        utility = UTILITIES[group.name]()
        assert group.utility.unit == utility.unit
        assert problem.report["utilities"][group.name] == utility.name
        np.testing.assert_array_equal(group.utility(prompts, texts), utility(prompts, texts))


@pytest.mark.parametrize("wish", UTILITIES)
def test_every_utility_can_be_either_group(wish):
    other = "style" if wish != "style" else "coverage"
    for pair in ((wish, other), (other, wish)):
        problem = response_pool("synthetic", 0.2, 0, majority=pair[0], minority=pair[1])
        assert np.isfinite(problem.world.utilities).all()


# --- splits and seeds


@given(st.integers(0, 2**20), st.floats(0.1, 0.8))
def test_splits_are_disjoint_and_cover_every_prompt(seed, share):
    rows = synthetic_answers(seeds.rng(0, "answers"))[:240]  # forty prompts
    split = _split(make_pool("t", rows), share, 50, np.random.default_rng(seed))
    parts = [set(split.train), set(split.validation), set(split.test)]
    assert all(parts) and sum(map(len, parts)) == len(set.union(*parts)) == 40
    assert len(parts[2]) == round(40 * share)
    assert len(split.train) == 50
    times = [split.train.count(prompt) for prompt in parts[0]]
    assert max(times) - min(times) <= 1  # in turn


def test_the_seed_says_everything():
    one, same, other = (response_pool("synthetic", 0.2, seed) for seed in (0, 0, 1))
    assert one.world.digest == same.world.digest and one.prompts == same.prompts
    assert one.world.digest != other.world.digest and one.prompts != other.prompts
    assert one.report == same.report


def test_answers_are_kept_for_their_seed_and_wishes_alone():
    first = response_pool("synthetic", 0.3, 7)
    others = [response_pool("synthetic", 0.3, 8), response_pool("synthetic", 0.3, 7, minority="brevity")]
    assert first.world.digest not in [other.world.digest for other in others]
    _drawn.cache_clear()
    assert response_pool("synthetic", 0.3, 7).world.digest == first.world.digest


def test_a_table_is_the_same_world_for_every_seed(tmp_path):
    path = str(write(tmp_path / "t.csv", answers(40)))
    one, other = (response_pool(path, 0.2, s, annotators=5, pairs_per_annotator=4) for s in (0, 1))
    assert one.world.digest == other.world.digest and one.prompts != other.prompts


def test_synthetic_answers_are_of_six_manners():
    pool = make_pool("synthetic", synthetic_answers(np.random.default_rng(3)))
    assert len(pool.prompts) == 160 and len(pool.models) == 6
    assert pool.report["prompts_dropped"] == {"missing": 0, "empty": 0, "same_text": 0}
    texts = [text for row in pool.responses for text in row]
    words = -Conciseness(0.0)(texts, texts).reshape(-1, 6).mean(axis=0)
    assert pool.models[int(words.argmin())] == "terse"
    warmth = UTILITIES["style"]()(texts, texts).reshape(-1, 6).mean(axis=0)
    assert pool.models[int(warmth.argmax())] == "cheerful" and pool.models[int(warmth.argmin())] == "worried"
    ease = UTILITIES["readability"]()(texts, texts).reshape(-1, 6).mean(axis=0)
    assert pool.models[int(ease.argmin())] == "learned"
    assert Coverage(0.0)(texts, texts).min() > 0


# --- features


def pool_of(responses) -> Pool:
    models = tuple(map(str, range(len(responses[0]))))
    return Pool(
        "t", tuple(f"prompt {i}" for i in range(len(responses))), models, tuple(map(tuple, responses))
    )


def test_features_are_standardised_bounded_and_independent():
    pool = make_pool("t", synthetic_answers(np.random.default_rng(0)))
    features, names, left_out = text_features(pool)
    assert features.shape == (160, 6, len(names)) and len(names) >= 10
    flat = features.reshape(-1, len(names))
    np.testing.assert_allclose(flat.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(flat.std(axis=0), 1, atol=1e-9)
    within = (features - features.mean(axis=1, keepdims=True)).reshape(-1, len(names))
    assert np.linalg.matrix_rank(within) == len(names)
    assert left_out == ["log list items"]  # in these answers a line is an item


def test_one_answer_in_a_loop_does_not_stretch_a_feature():
    rows = [[f"some {i} words here", f"a few more words for {i} here"] for i in range(200)]
    rows[0][1] = "again " * 100_000
    features, names, _ = text_features(pool_of(rows))
    assert np.abs(features[..., names.index("words")]).max() < 20


def test_no_feature_but_words_is_a_utility():
    pool = make_pool("t", synthetic_answers(np.random.default_rng(0)))
    features, names, _ = text_features(pool)
    texts = [text for row in pool.responses for text in row]
    prompts = [prompt for prompt in pool.prompts for _ in pool.models]
    for wish, make in UTILITIES.items():
        utility = make()(prompts, texts)
        for index, name in enumerate(names):
            same = abs(np.corrcoef(features[..., index].ravel(), utility)[0, 1]) > 0.9999
            assert same == ((wish, name) == ("brevity", "words"))


def test_what_depends_on_the_prompt_alone_is_left_out():
    rows = [["word " * (i % 5 + 1) + "Ay!", "word " * (i % 5 + 1) + "ox?"] for i in range(20)]
    _, names, left_out = text_features(pool_of(rows))
    assert "words" in left_out and "digits" in left_out and "log lines" in left_out
    assert names  # a question mark is one thing that differs


# --- whole runs


def test_a_run_on_synthetic_answers(tmp_path):
    sets = {"task": SMALL, "evaluate": {"samples": "2"}}
    folder, record = run(make_spec(task="response_pool", aligner="reference", sets=sets), tmp_path)
    assert record.status == "ok" and record.n_prompts == 40
    assert [group.name for group in record.groups] == ["coverage", "readability"]
    assert abs(record.kl) < 1e-9
    report = json.loads((folder / "record.json").read_text())["task_report"]
    assert report["table"]["models"] == ["cheerful", "learned", "listing", "plain", "terse", "worried"]
    assert report["conflict"]["coverage vs readability"]["utility_correlation"] < 0.5


def test_texts_are_carried_as_they_are(tmp_path):
    odd = ["<script>alert(1)</script>", "\x1b[31mred", "{{7*7}}", "=SUM(A1)", "\u202eright to left", "a\0b"]
    rows = [(f"{odd[index // 3 % 6]} {p}", m, text) for index, (p, m, text) in enumerate(answers(24))]
    rows = [(p, m, f"{odd[index % 5]} {text}") for index, (p, m, text) in enumerate(rows)]
    path = write(tmp_path / "t.parquet", rows)
    sets = {"task": SMALL | {"annotators": "4", "pairs_per_annotator": "5"}}
    spec = make_spec(task="response_pool", aligner="reference", data=str(path), sets=sets)
    folder, record = run(spec, tmp_path / "runs")
    assert record.status == "ok"
    items = pd.read_parquet(folder / "items.parquet")
    assert set(items["response"]) <= {text for _, _, text in rows}


@pytest.mark.skipif(not REAL.exists(), reason="shared/data/alpaca_eval_pool.parquet is not here")
def test_a_run_on_what_sixteen_models_answered(tmp_path):
    spec = make_spec(
        task="response_pool", aligner="reference", data=str(REAL), sets={"evaluate": {"samples": "2"}}
    )
    _, record = run(spec, tmp_path)
    assert record.status == "ok" and record.n_prompts == 186
    report = record.task_report
    assert (report["states"], report["responses"], report["features"]) == (745, 16, 13)
    assert report["features_dropped"] == []
    assert report["table"]["prompts_dropped"] == {"missing": 3, "empty": 5, "same_text": 52}
    assert report["conflict"]["coverage vs readability"]["utility_correlation"] == pytest.approx(
        -0.15, abs=0.15
    )
