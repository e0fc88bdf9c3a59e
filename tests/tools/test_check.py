"""`prefbench check`: what is built in passes, and each way to break the contract is found and named."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from prefbench import registry
from prefbench.config import RunFile
from prefbench.errors import PrefbenchError
from prefbench.tools.check import task as task_module
from prefbench.tools.check.check import check, find
from prefbench.tools.check.findings import Finding
from prefbench.tools.check.tiny import TASKS
from prefbench.tools.scaffold import new
from support.commands import typed
from support.findings import bad

pytestmark = pytest.mark.usefixtures("restored")


# ----------------------------------------------------------------------------------- broken tasks


def broken(kind: str, old: str, replacement: str, tmp_path: Path, task: str | None = None) -> list[Finding]:
    """What is found in the file of `prefbench new` with one thing changed."""
    path = new(kind, "mine", tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, replacement))
    ((entry,), _) = find(str(path))
    return check(entry, plugins=[str(path)], task=task)


SILENT = 'Field(ge=10, description="Prompts to evaluate on.")'
SIZES = "(annotators * pairs_per_annotator, 50, test_prompts)"
DRAWN = 'pb.seeds.rng(seed, "prompts")'
COUNTED = "return np.array([lower_words(text).count(self.word) for text in responses], dtype=np.float64)"
AS_FLOATS = "dtype=np.float64)"
TASK_FAULTS = {
    "share": (
        'pb.Group("brevity", minority_ratio',
        'pb.Group("brevity", minority_ratio / 2',
        "shares sum to 0.9",
    ),
    "shares": ('pb.Group("praise", 1 - minority_ratio', 'pb.Group("praise", 1.0', "shares sum to 1.2"),
    "leak": ("for prompt in rest\n", "for prompt in every\n", "make the corpus of what is no test prompt"),
    "no validation": (
        SIZES,
        "(annotators * pairs_per_annotator, 0, test_prompts)",
        "validation has no prompt",
    ),
    "chance": (DRAWN, "np.random.default_rng()", "built twice it differs"),
    "global": (DRAWN, "np.random.default_rng(np.random.seed(seed) or seed)", "state of numpy.random moved"),
    "hash": (
        "deal(every, ",
        "deal(sorted(every, key=lambda text: hash((text, seed)))[60:], ",
        "something depends on the order of a set",
    ),
    "one seed": (DRAWN, 'pb.seeds.rng(7, "prompts")', "the test prompts are the same"),
    "ratio": (DRAWN, "pb.seeds.rng(seed, str(minority_ratio))", "they change with it"),
    "nan": (AS_FLOATS, "dtype=np.float64) / 0", "some are not finite"),
    "length": (AS_FLOATS, "dtype=np.float64)[1:]", "gave an array of shape"),
    "integers": (AS_FLOATS, "dtype=np.int64)", "return float64"),
    "moody": (AS_FLOATS, "dtype=np.float64) + np.random.random()", "a second call gives other"),
    "batch": (
        COUNTED,
        "return np.array([float(len(text)) for text in responses]) - max(map(len, responses))",
        "scored alone gets another number",
    ),
    "position": (COUNTED, "return np.arange(len(responses), dtype=np.float64)", "prefers by position"),
    "raises": ("return np.array([lower", "return np.array([0 // 0 + lower", "ZeroDivisionError"),
    "address": ('f"mine_praise/1:{self.word}"', 'f"mine/{object()}"', "holds an address in memory"),
    "no unit": ('unit: str = "words of praise"', 'unit: str = ""', "its unit is empty"),
    "silence": (
        "Conciseness(empty=-20.0)",
        "Conciseness(empty=0.0)",
        "'brevity': an empty response is not liked",
    ),
    "agree": ("Conciseness(empty=-20.0)", 'Praise("good")', "give the groups different utilities"),
    "undescribed": (SILENT, "Field(ge=10)", "test_prompts without a description"),
    "silent": (
        '    """Travellers\' remarks: the majority wants praise, the minority wants few words."""\n',
        "",
        "write one",
    ),
    "nothing": (
        "    return pb.Problem(",
        "    return dict(",
        "it returned dict, not a prefbench.Problem",
    ),
    "crash": (SIZES, SIZES.replace("50", "1 // 0"), "ZeroDivisionError: integer division"),
    "overlap": (
        "prompts=prompts",
        "prompts=pb.Prompts(prompts.train, prompts.test[:50], prompts.test)",
        "a prompt appears twice",
    ),
    "cold": ("temperature=0.5", "temperature=-1.0", "is no preference noise"),
}


@pytest.mark.parametrize("fault", TASK_FAULTS)
def test_a_broken_task_is_told_what_is_wrong(fault, tmp_path, monkeypatch):
    monkeypatch.setattr(task_module, "_check_run", lambda *args: None)  # seconds each
    if fault != "hash":
        monkeypatch.setattr(task_module, "_check_fresh_process", lambda *args: None)
    old, replacement, said = TASK_FAULTS[fault]
    found = bad(broken("task", old, replacement, tmp_path))
    assert any(said in line for line in found), found


def test_a_task_without_a_world_is_not_for_the_finite_backbone(tmp_path, monkeypatch):
    monkeypatch.setattr(task_module, "_check_run", lambda *args: None)
    found = bad(
        broken("task", '@pb.task("mine", version=1)', '@pb.task("mine", backbone="finite")', tmp_path)
    )
    assert any("its Problem has no world" in line for line in found), found


def test_groups_that_want_nearly_the_same_are_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(task_module, "_check_run", lambda *args: None)
    old = "Conciseness(empty=-20.0)"
    path = new("task", "nearly", tmp_path)
    text = path.read_text().replace(old, "Nearly('good')")
    extra = (
        "class Nearly(Praise):\n    def __call__(self, prompts, responses):\n"
        "        lengths = np.array([float(len(text)) for text in responses])\n"
        "        return super().__call__(prompts, responses) - 1e-2 * lengths\n\n\n"
    )
    path.write_text(text.replace("@pb.task(", extra + "@pb.task(", 1))
    ((entry,), _) = find(str(path))
    warnings = [f.detail for f in check(entry, plugins=[str(path)]) if f.status == "warned"]
    assert any("hardly a pair tells them apart" in detail for detail in warnings)


def test_a_task_of_three_groups_that_is_built_at_one_half_is_told_why_it_should_not(tmp_path, monkeypatch):
    monkeypatch.setattr(task_module, "_check_run", lambda *args: None)
    monkeypatch.setattr(task_module, "_check_fresh_process", lambda *args: None)
    path = new("three-group-task", "mine", tmp_path)
    path.write_text(path.read_text().replace("MOST_RATIO = 0.3", "MOST_RATIO = 0.6"))
    ((entry,), _) = find(str(path))
    (line,) = bad(check(entry, plugins=[str(path)]))
    assert line.startswith(
        "refuses a minority ratio of 0.5: the smallest of 3 groups has a share of 1/3 at most"
    )
    assert "raise pb.UserError above 0.33." in line


# -------------------------------------------------------------------------------- broken aligners

RETURN = "return backbone.fit_pairwise(weighted, loss, options, seed=view.seed)"
ALIGNER_FAULTS = {
    "wants more": ('needs={"group"}', "needs=()", "With group it runs: declare needs={'group'}."),
    "wants the oracle": (
        RETURN,
        "view.utilities([], [])\n    " + RETURN,
        "With oracle it runs: declare needs=",
    ),
    "wants too much": ('needs={"group"}', 'needs={"group", "user_id"}', "makes use of user_id"),
    "chance": (
        "count[group] ** -options.tilt",
        "count[group] ** -options.tilt * np.random.random(len(pairs))",
        "says other things",
    ),
    "global": (RETURN, "import random; random.random()\n    " + RETURN, "state of random moved"),
    "torch": (RETURN, "import torch; torch.manual_seed(0)\n    " + RETURN, "state of torch moved"),
    "forgets": (
        RETURN,
        "policy = " + RETURN[7:] + "\n    from prefbench.learn.simple_policies import ReferencePolicy"
        "\n    save = ReferencePolicy(backbone.reference).save"
        "\n    object.__setattr__(policy, 'save', save)\n    return policy",
        "saved and loaded it",
    ),
    "crash": (RETURN, "raise RuntimeError('no luck')", "no luck"),
    "no policy": (RETURN, "return None", "NoneType"),
    "undescribed": (
        '"""A pair weighs (pairs of its annotator\'s group) ** -tilt: 0 is plain DPO, 1 weighs groups '
        'alike."""',
        "",
        "tilt without a description",
    ),
    "draws": ("Choice((0.0, 0.5, 1.0, 2.0))", "Choice((0.0, 9.0))", "option aligner.tilt=9.0"),
    "silent": ('    """DPO in which the pairs of smaller groups weigh more."""\n', "", "write one"),
    "peeks": (
        RETURN,
        "lean = 0.1 * backbone.world.utilities[0, :, 0].argmax()\n"
        "    weights = weighted.weights * np.exp(lean * np.arange(len(pairs)) / len(pairs))\n    "
        + RETURN.replace("weighted", "replace(pairs, weights=weights)"),
        "with other utilities behind the same labels it",
    ),
}


@pytest.mark.parametrize("fault", ALIGNER_FAULTS)
def test_a_broken_aligner_is_told_what_is_wrong(fault, tmp_path):
    old, replacement, said = ALIGNER_FAULTS[fault]
    task = TASKS["causal_lm" if fault == "torch" else "finite"]
    found = bad(broken("aligner", old, replacement, tmp_path, task))
    assert any(said in line for line in found), found


def test_a_learner_that_tuning_has_nothing_to_draw_for_is_named(tmp_path):
    path = tmp_path / "plain.py"
    path.write_text(
        "import prefbench as pb\n\nclass PlainOptions(pb.Options):\n"
        '    """One."""\n\n    much: float = 1.0\n    """How much."""\n\n'
        '@pb.aligner("plain")\ndef plain(view, backbone, options: PlainOptions) -> pb.Policy:\n'
        '    """The reference."""\n    return backbone.reference\n'
    )
    ((entry,), _) = find(str(path))
    found = check(entry, plugins=[str(path)], task=TASKS["finite"])
    (warned,) = [f for f in found if f.words == "options declare what tuning draws them from"]
    assert warned.status == "warned" and "can only run their defaults" in warned.detail


FOR_TWO = '''
import numpy as np
import prefbench as pb
from prefbench.learn.rewards import pairs_of


@pb.aligner("for_two", needs={"group"}, backbones=("finite",))
def for_two(view, backbone, options: pb.NoOptions) -> pb.Policy:
    """A policy between those of two groups."""
    first, second = sorted(set(pairs_of(view.preferences["train"]).group))
    return backbone.reference
'''


def test_an_aligner_for_two_groups_is_told_so(tmp_path):
    path = tmp_path / "for_two.py"
    path.write_text(FOR_TWO)
    ((entry,), _) = find(str(path))
    said = "with two groups it runs, and here there are 3: go through the groups that are there"
    (finding,) = [f for f in check(entry, plugins=[str(path)]) if "three groups" in f.words]
    assert finding.status == "warned" and said in finding.detail
    (line,) = bad(check(entry, plugins=[str(path)], task="bandit_k_group"))
    assert line.startswith("runs on the finite model: ") and said in line


def test_an_option_that_changes_nothing_is_named(tmp_path):
    found = broken("aligner", "-options.tilt", "-1.0", tmp_path, TASKS["causal_lm"])
    (line,) = bad(found)
    assert line.startswith("every option makes a difference: tilt makes none here")


def test_options_of_training_are_not_blamed_for_fits_that_are_exact(tmp_path):
    path = new("aligner", "mine", tmp_path)
    ((entry,), _) = find(str(path))
    found = check(entry, plugins=[str(path)], task=TASKS["finite"])
    assert bad(found) == []
    (left_out,) = [f.detail for f in found if f.status == "left out"]
    assert left_out.startswith("batch, checkpoint, epochs, ") and "language models were not tried" in left_out


FORGETFUL = """def compute(work):
        backbone.fit_pairwise(weighted, loss, options, seed=view.seed).save(work.path)

    rest = {k: v for k, v in options.model_dump().items() if k != "tilt"}
    return backbone.load_policy(backbone.cached("mine", {"options": rest}, compute))"""


def test_an_option_that_a_stored_result_forgets_is_named(tmp_path):
    """Without `tilt` in the key, the first tilt's policy is served to every other."""
    (line,) = bad(broken("aligner", RETURN, FORGETFUL, tmp_path, TASKS["causal_lm"]))
    assert "tilt makes none" in line and "backbone.cached" in line


WELFARE = """from prefbench.learn.interface import Aligned, Backbone
from prefbench.learn.options import SingleRewardOptions
from prefbench.learn.welfare import Welfare
from prefbench.problem.view import View
from prefbench.registry import aligner


def squares(values):
    return (values**2).sum()


@aligner("own_welfare", needs={"group"})
def own_welfare(view: View, backbone: Backbone, options: SingleRewardOptions) -> Aligned:
    '''A reward per group and a welfare of one's own.'''
    from prefbench.learn.rewards import fit_known_groups

    rewards = fit_known_groups(view, backbone, options)
    policy = backbone.optimise(rewards, OWN, options, prompts=view.prompts, seed=view.seed)
    return Aligned(policy, rewards)
"""


@pytest.mark.parametrize(
    ("welfare", "said"),
    [
        ("Welfare.of_values(squares)", "'squares' is not declared concave"),
        ("Welfare.of_values(squares, concave=True)", "'squares' is declared concave"),
        ("(lambda matrix: matrix[:, matrix.mean(axis=0).argmin()])", "another number in another batch"),
        ("Welfare('squares')", "there is no welfare 'squares'"),
        ("(lambda matrix: matrix.min(axis=1))", None),
        pytest.param(  # solved anew for every option that is tried
            "Welfare.of_values(lambda v: v.mean() + v.min(), concave=True)", None, marks=pytest.mark.slow
        ),
    ],
)
def test_a_welfare_that_a_world_cannot_solve_fails_the_check(welfare, said, tmp_path):
    path = tmp_path / "own.py"
    path.write_text(WELFARE.replace("OWN", welfare))
    ((entry,), _) = find(str(path))
    found = bad(check(entry, plugins=[str(path)], task=TASKS["finite"]))
    if said is None:
        assert found == []
    else:
        (line,) = found
        assert line.startswith("runs on the finite model: ") and said in line


# ------------------------------------------------------------------------------------ the command


def test_the_command_lists_findings_and_counts_them(tmp_path):
    outcome = typed("check", "longest")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0] == "aligner longest" and lines[-1].endswith(" passed")
    assert all(line.startswith("  passed    ") for line in lines[1:-1])


def test_a_failure_is_exit_1_and_json_has_it_too(tmp_path, monkeypatch):
    monkeypatch.setattr(task_module, "_check_run", lambda *args: None)
    path = new("task", "mine", tmp_path)
    path.write_text(path.read_text().replace("temperature=0.5", "temperature=-1.0"))
    outcome = typed("check", path)
    assert outcome.code == 1 and "  failed    " in outcome.out
    outcome = typed("check", path, "--json")
    report = json.loads(outcome.out)
    assert outcome.code == 1 and report["failed"] >= 1
    assert {row["name"] for row in report["findings"]} == {"mine"}


def test_a_file_with_both_is_checked_whole(tmp_path):
    text = new("task", "mine", tmp_path).read_text()
    other = new("aligner", "my_way", tmp_path).read_text()
    both = tmp_path / "both.py"
    future = "from __future__ import annotations\n"
    both.write_text(future + text.replace(future, "") + other.replace(future, ""))
    assert [(e.kind, e.name) for e in find(str(both))[0]] == [("task", "mine"), ("aligner", "my_way")]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["maxmn"], "no task or aligner is called 'maxmn'. Did you mean 'maxmin'?"),
        (["nano"], "no task or aligner is called 'nano'."),
        (["none.py"], "'none.py' is no Python file"),
        (["empty.py"], "'empty.py' registers no task and no aligner"),
        (["broken.py"], "could not be imported: ZeroDivisionError"),
        (["dpo", "--set", "aligner.beta=x"], "option aligner.beta='x'"),
        (["dpo", "--set", "aligner.nope=1"], "unknown option aligner.nope"),
        (["dpo", "--set", "beta=1"], "write it as SECTION.NAME=VALUE"),
        (["dpo", "--task", "nope"], "unknown task 'nope'"),
        (["bandit_two_group", "--set", "task.actions=1"], "task.actions=1 leaves nothing to choose"),
        (["imdb_two_group", "--data", "no/such.csv"], "no such file"),
    ],
)
def test_what_is_typed_wrong_is_one_line_and_exit_2(args, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("empty.py").touch()
    Path("broken.py").write_text("1 / 0")
    outcome = typed("check", *args)
    assert outcome.code == 2 and said in outcome.error


def test_a_file_that_is_installed_is_not_loaded_twice():
    file = registry.get("aligner", "dpo").function.__code__.co_filename
    assert [entry.name for entry in find(file)[0]] == ["dpo"]


# ------------------------------------------------------------------------- a run file from a stranger

KEYS = st.sampled_from([*RunFile.model_fields, "set.task", "set.aligner", "nope", "", "__class__"]) | st.text(
    max_size=5
)
scalars = (
    st.integers(-(2**70), 2**70)
    | st.booleans()
    | st.text(max_size=10)
    | st.sampled_from(["bandit_two_group", "dpo", "4:1", "1e999", "../..", "none", "a\nb"])
    | st.floats(allow_nan=True)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value)


run_files = st.binary(max_size=80) | st.dictionaries(KEYS, values, max_size=5).map(
    lambda table: "".join(f"{json.dumps(key)} = {toml(value)}\n" for key, value in table.items()).encode()
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=run_files)
@example(content=b"a = " + b"[" * 5000)
@example(content=b'task = "bandit_two_group"\naligner = "dpo"\nseeds = 99999999999\n')
@example(content=b'task = "bandit_two_group"\naligner = "dpo"\nminority_ratio = nan\n')
@example(content=b'task = "bandit_two_group"\naligner = "dpo"\nruns_dir = "a\\u0000b"\n')
@example(content=b'task = "bandit_two_group"\naligner = "dpo"\nmodel = "a\\u0000b"\n')
@example(content=b'task = "bandit_two_group"\naligner = "dpo"\nplugin = ["a\\u0000b"]\n')
def test_any_run_file_is_a_run_or_one_line(content, tmp_path, monkeypatch):
    def stopped(*args: object) -> None:
        raise PrefbenchError("enough")

    monkeypatch.setattr("prefbench.running.seeds.run", stopped)
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "run.toml"
    file.write_bytes(content)
    outcome = typed("run", "--config", file, "--quiet")
    assert outcome.code == 2 or (outcome.code, outcome.error) == (3, "enough")
    assert outcome.error
    assert [path.name for path in tmp_path.iterdir()] == ["run.toml"]
