"""A stored stage belongs to the code, the files and the options that made it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefbench import identity
from prefbench.boards.table import build
from prefbench.identity import identity_of
from prefbench.numerics import NUMERICS
from prefbench.running.run import run
from prefbench.spec import make_spec, parse_sets
from prefbench.store.stages import Store
from prefbench.sweep.cell import is_done

ROOT = Path(__file__).parents[1]
SMALL = {"task": {"test_prompts": "20", "annotators": "6", "pairs_per_annotator": "4"}}


# ------------------------------------------------------------------- every module that runs is known


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, set[str], set[str]]]:
    """For each stage that is computed: its name, own modules whose code ran, and those in its key."""
    found: list[tuple[str, set[str], set[str]]] = []
    inside: list[set[str]] = []
    compute_stage = Store._compute

    def traced(self: Store, name: str, key: Any, compute: Callable[..., None], *rest: Any) -> Any:
        def profiled(work: Any) -> None:
            modules: set[str] = set()
            inside.append(modules)
            before = sys.getprofile()

            def note(frame: Any, event: str, argument: Any) -> None:
                if event == "call":
                    inside[-1].add(frame.f_globals.get("__name__", ""))

            sys.setprofile(note)
            try:
                compute(work)
            finally:
                sys.setprofile(before)
                inside.pop()
            own = {
                m
                for m in modules
                if m.split(".")[0] in ("prefbench", "prefbench_tasks", "prefbench_baselines")
            }
            assert isinstance(self.made_by, identity.Identity)
            found.append((name, own - {"prefbench"}, set(self.made_by.modules(name, compute))))

        profiled.__module__ = compute.__module__
        return compute_stage(self, name, key, profiled, *rest)

    monkeypatch.setattr(Store, "_compute", traced)
    return found


def inert(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in identity.INERT)


WORLDS = ("maxmin", "soups", "mpo", "em_dpo", "gr_dpo", "gold_maxmin", "longest", "single_reward_balanced")
LANGUAGE = ("maxmin", "mpo", "em_dpo", "gr_ipo", "constant", "gold_utilitarian")


@pytest.mark.parametrize("aligner", WORLDS)
def test_code_that_runs_in_a_stage_of_a_world_is_in_its_key(ran, tmp_path, aligner):
    run(make_spec(task="bandit_two_group", aligner=aligner, sets=SMALL), tmp_path)
    assert {name for name, _, _ in ran} >= {"pairs", "labels", "policy", "samples", "scores"}
    for name, used, known in ran:
        assert {module for module in used - known if not inert(module)} == set(), name


@pytest.mark.parametrize("aligner", LANGUAGE)
def test_code_that_runs_in_a_stage_of_a_language_model_is_in_its_key(
    ran, tmp_path, aligner, tiny_sets, tiny_aligner_sets
):
    sets = parse_sets([*tiny_sets, *tiny_aligner_sets(aligner)])
    run(make_spec(task="imdb_two_group", aligner=aligner, sets=sets), tmp_path)
    assert {name for name, _, _ in ran} >= {"reference", "pairs", "labels", "policy", "samples", "scores"}
    for name, used, known in ran:
        assert {module for module in used - known if not inert(module)} == set(), name


def test_modules_that_can_move_no_number_exist():
    for name in identity.INERT | identity._AFTER | identity._LEARNING:
        path = ROOT.joinpath(*name.split("."))
        assert path.is_dir() or path.with_suffix(".py").is_file(), name


# ------------------------------------------------------------------------------------- plug-ins


PLUGIN = """
import prefbench as pb
from helping import ALIGNER, strength
from prefbench.learn.pairwise import DPO
from prefbench.learn.options import PairwiseOptions
from prefbench.learn.rewards import pairs_of

@pb.aligner("strong_dpo")
def strong_dpo(view: pb.View, backbone: pb.Backbone, options: PairwiseOptions) -> pb.Policy:
    \"\"\"DPO, stronger.\"\"\"
    pairs = pairs_of(view.preferences["train"])
    return backbone.fit_pairwise(pairs, DPO(strength()), options, seed=view.seed)
"""


def in_process(folder: Path, *lines: str) -> list[Any]:
    """What a new process prints as JSON, with small runs at hand."""
    code = [
        "import json, sys",
        "from pathlib import Path",
        "from prefbench import registry",
        "from prefbench.running.run import run",
        "from prefbench.spec import make_spec",
        "sets = {'task': {'test_prompts': '20', 'annotators': '6', 'pairs_per_annotator': '4'}}",
        "def worst(aligner, runs, task='bandit_two_group'):",
        "    folder, record = run(make_spec(task=task, aligner=aligner, sets=sets), Path(runs))",
        "    assert record.status == 'ok', record.message",
        "    return [[group.mean_utility for group in record.groups], record.stages, record.code]",
        *lines,
    ]
    done = subprocess.run(
        [sys.executable, "-B", "-c", "\n".join(code)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def test_every_module_of_a_plugin_file_counts(tmp_path):
    (tmp_path / "strong.py").write_text(PLUGIN)
    helper = tmp_path / "helping.py"
    told = []
    for beta in (0.1, 3.0):
        helper.write_text(f"ALIGNER = 'x'\ndef strength(): return {beta}\n")
        run_it = ["sys.path.insert(0, '.')", "registry.load_plugins(['strong.py'])"]
        told.append(
            in_process(
                tmp_path, *run_it, "print(json.dumps([worst('strong_dpo', r) for r in ('runs', 'new')]))"
            )
        )
        shutil.rmtree(tmp_path / "new")
    (first, fresh), (second, fresh_again) = told
    assert first == fresh and second == fresh_again
    assert first[0] != second[0]
    assert first[1]["policy"] != second[1]["policy"] and first[1]["labels"] == second[1]["labels"]
    assert first[2] != second[2]


TASK = """
import numpy as np
from dataclasses import dataclass
import prefbench as pb
from prefbench_tasks.bandit_two_group import bandit_two_group

@pb.task("my_bandit", version=1, backbone="finite")
def my_bandit(data: str, minority_ratio: float, seed: int, *, test_prompts: int = 20, annotators: int = 6,
              pairs_per_annotator: int = 4) -> pb.Problem:
    \"\"\"A bandit whose second group changes its mind.\"\"\"
    from dataclasses import replace
    made = bandit_two_group(data, minority_ratio, seed, test_prompts=test_prompts, annotators=annotators,
                            pairs_per_annotator=pairs_per_annotator)
    first, second = made.groups
    return replace(made, groups=(first, replace(second, utility=Other(second.utility))))

@dataclass(frozen=True)
class Other(pb.Utility):
    inner: object
    unit: str = "reward"
    name: str = "other"

    def __call__(self, prompts, responses):
        return SIGN * self.inner(prompts, responses)
"""


def test_scores_of_an_edited_task_are_computed_anew(tmp_path):
    told = []
    for sign in (1.0, -1.0):
        (tmp_path / "my_bandit.py").write_text(TASK + f"\nSIGN = {sign}\n")
        lines = [
            "registry.load_plugins(['my_bandit.py'])",
            "print(json.dumps(worst('longest', 'runs', 'my_bandit')))",
        ]
        told.append(in_process(tmp_path, *lines))
    first, second = told
    assert first[0][0] == second[0][0] and first[0][1] == -second[0][1]


SESSION = """
import prefbench as pb
from prefbench.learn.pairwise import DPO
from prefbench.learn.options import PairwiseOptions
from prefbench.learn.rewards import pairs_of

BETA = 0.1
def strength(): return BETA

def define():
    @pb.aligner("cell")
    def cell(view: pb.View, backbone: pb.Backbone, options: PairwiseOptions) -> pb.Policy:
        "DPO, defined in a cell."
        pairs = pairs_of(view.preferences["train"])
        return backbone.fit_pairwise(pairs, DPO(strength()), options, seed=view.seed)

registry.load_plugins()
define()
told = [worst("cell", "runs")]
told.append(worst("cell", "runs"))
BETA = 3.0
told.append(worst("cell", "runs"))
def strength(): return 2.0 * BETA
told.append(worst("cell", "runs"))
print(json.dumps(told))
"""


def test_an_aligner_of_a_session_is_keyed_by_what_it_uses(tmp_path):
    """`python -c` has no file, as a notebook has none."""
    first, again, other, more = in_process(tmp_path, SESSION)
    assert first == again
    assert len({json.dumps(told[0]) for told in (first, other, more)}) == 3
    assert len({told[1]["policy"] for told in (first, other, more)}) == 3
    assert len({told[1]["labels"] for told in (first, other, more)}) == 1


SCRIPT = """
import json, sys
from pathlib import Path
import prefbench as pb
from prefbench import registry
from prefbench.running.run import run
from prefbench.spec import make_spec
from prefbench.learn.pairwise import DPO
from prefbench.learn.options import PairwiseOptions
from prefbench.learn.rewards import pairs_of

registry.load_plugins()
told = []
for beta in (0.1, 3.0):
    @pb.aligner("mine")
    def mine(view: pb.View, backbone: pb.Backbone, options: PairwiseOptions, beta=beta) -> pb.Policy:
        "Defined twice."
        pairs = pairs_of(view.preferences["train"])
        return backbone.fit_pairwise(pairs, DPO(beta), options, seed=view.seed)
    sets = {"task": {"test_prompts": "20", "annotators": "6", "pairs_per_annotator": "4"}}
    _, record = run(make_spec(task="bandit_two_group", aligner="mine", sets=sets), Path("runs"))
    told.append([record.stages["policy"], [p.model_dump() for p in record.plugins]])
print(json.dumps(told))
"""


def test_a_redefined_aligner_of_a_script_is_another(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (first, plugins), (second, others) = json.loads(done.stdout)
    assert first != second
    assert [p["name"] for p in plugins] == ["script.py"] and plugins[0]["version"] is None
    assert plugins[0]["digest"] != others[0]["digest"]


# ------------------------------------------------------------------------------------ files and sweeps


def test_the_content_of_a_path_counts_and_not_its_name(tmp_path):
    data = tmp_path / "answers.csv"
    spec = make_spec(task="response_pool", aligner="longest", data=str(data))
    told = []
    for text in ("a", "b", "a"):
        data.write_text(text)
        told.append(
            (identity_of(spec)("scores", label), identity_of(spec)("pairs", label), identity_of(spec).code)
        )
    assert told[0] == told[2] != told[1]
    assert told[0][1] == told[1][1]  # what is sampled rests on the problem's own texts


def label() -> None:
    """Stands for a stage's function."""


def test_a_cell_that_other_code_made_is_not_done(tmp_path, monkeypatch):
    spec = make_spec(task="bandit_two_group", aligner="longest", sets=SMALL)
    _, record = run(spec, tmp_path)
    assert is_done(spec, tmp_path)
    assert record.code == identity_of(spec).code and record.plugins == ()
    with monkeypatch.context() as patched:
        patched.setattr(identity.sources, "digest_of", lambda modules: "0" * 64)
        assert not is_done(spec, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr("prefbench.sweep.cell.NUMERICS", 99)
        assert not is_done(spec, tmp_path)
    assert is_done(spec, tmp_path)


def test_the_record_names_the_folders_that_it_rests_on(tmp_path):
    spec = make_spec(task="bandit_two_group", aligner="maxmin", sets=SMALL)
    _, record = run(spec, tmp_path)
    assert set(record.stages) == {
        *(
            "pairs",
            "labels",
            "rewards",
            "rewards:2",
            "policy",
            "scores",
            "samples/policy",
            "samples/reference",
            "proxies/policy",
            "proxies/reference",
        )
    }
    for name, folder in record.stages.items():
        kind = name.partition("/")[0].partition(":")[0]
        assert (tmp_path / "stages" / kind / folder / "done.json").is_file()
    _, again = run(spec, tmp_path)  # nothing is computed, and all is named as before
    assert again.stages == record.stages


SWEPT = """
import prefbench as pb
from prefbench.learn.rewards import pairs_of
from prefbench.learn.options import PairwiseOptions
from prefbench.learn.pairwise import DPO


@pb.aligner("swept")
def swept(view: pb.View, backbone: pb.Backbone, options: PairwiseOptions) -> pb.Policy:
    \"\"\"DPO of some strength.\"\"\"
    pairs = pairs_of(view.preferences["train"])
    return backbone.fit_pairwise(pairs, DPO(BETA), options, seed=view.seed)
"""


def sweep(folder: Path, beta: float, seeds: int) -> dict[str, Any]:
    """What a sweep of a plug-in says of itself."""
    (folder / "swept.py").write_text(SWEPT + f"\n\nBETA = {beta}\n")
    options = "".join(f"{name} = {value}\n" for name, value in SMALL["task"].items())
    text = f'task = "bandit_two_group"\naligner = "swept"\nseeds = {seeds}\n[set.task]\n{options}'
    (folder / "sweep.toml").write_text(text)
    words = ["-m", "prefbench", "sweep", "sweep.toml", "--plugin", "swept.py", "--json", "--workers", "1"]
    done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_a_sweep_runs_the_cells_of_an_edited_plugin_again(tmp_path):
    first = sweep(tmp_path, 0.1, 2)
    assert (first["done"], first["done_before"]) == (2, 0)
    again = sweep(tmp_path, 0.1, 2)
    assert (again["done"], again["done_before"]) == (0, 2)
    edited = sweep(tmp_path, 3.0, 3)
    assert (edited["done"], edited["done_before"]) == (3, 0)
    (row,) = build(tmp_path / "runs").to_dict("records")
    assert (row["status"], row["seeds"], row["numerics"]) == ("ok", "0 1 2", NUMERICS)
