"""Policies from outside in whole runs: strangers' kinds, people, instructions, boards, sweeps, checks."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

import prefbench as pb
from prefbench import registry, seeds
from prefbench.backbone.outside.interface import Outside, PolicyRequest
from prefbench.boards.csv_file import read_csv
from prefbench.boards.show import show
from prefbench.boards.table import build
from prefbench.boards.verify import runs_in, verify_board
from prefbench.errors import UserError
from prefbench.problem.problem import Group, Problem, Prompts
from prefbench.problem.utilities.content import Conciseness
from prefbench.problem.utilities.sentiment import VaderSum
from prefbench.record.files import find_records, read_record, write_record
from prefbench.record.schema import Record
from prefbench.record.verify import verify
from prefbench.report.page import page
from prefbench.running.policy import AlignerFailed
from prefbench.running.run import run
from prefbench.spec import digest, make_spec, parse_sets, run_name
from prefbench_tasks.synthetic_reviews import synthetic_reviews
from support.commands import sets, tiny_run, typed
from support.outside import TASK, answers, evaluated, write_lines
from support.tiny import TINY_SETS

NANO = ["model.steps=20", "model.width=16", "model.layers=1", "model.heads=2"]


@dataclass(frozen=True)
class Echo:
    """Says the end of the prompt again: a stranger's policy, of no class of ours."""

    words: int

    def sample(self, prompts, n, draw):
        return [[" ".join(prompt.split()[-self.words :])] * n for prompt in prompts]

    def logprob(self, prompts, responses):
        return None

    def save(self, folder):
        pass


class EchoOptions(pb.Options):
    """Options of echoes."""

    words: int = 2
    """Words that are said again."""


@pytest.fixture
def lent():
    with registry.lent():
        yield


@pytest.fixture
def echo(lent):
    @pb.policy("echo")
    def echo(request: PolicyRequest, options: EchoOptions) -> Echo:
        """Says the end of the prompt again."""
        if request.source != "on":
            raise UserError("echo:on is the only one.")
        return Echo(options.words)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A board with a learner's row, a floor's and one from outside."""
    folder = tmp_path_factory.mktemp("board")
    runs = folder / "runs"
    file = write_lines(folder / "out.jsonl", answers(folder))
    named = ["--name", "Joy", "--trainer", "TRL DPO", "--link", "https://example.org/joy"]
    assert evaluated(f"responses:{file}", runs, *named).code == 0
    for aligner in ("reference", "dpo"):
        assert tiny_run(aligner, runs, options=["aligner.epochs=1"] if aligner == "dpo" else []).code == 0
    return runs


@pytest.fixture
def board(made, tmp_path):
    """A copy of it to be changed."""
    return Path(shutil.copytree(made, tmp_path / "runs"))


# ---------------------------------------------------------------------------------------- kinds


def test_a_stranger_s_policy_has_a_kind_of_its_own(tmp_path, echo):
    spec = make_spec(task="imdb_two_group", policy="echo:on", sets=parse_sets([*TINY_SETS, "policy.words=3"]))
    assert spec.aligner == "echo:on" and spec.aligner_options == {"words": 3}
    folder, record = run(spec, tmp_path)
    assert record.status == "ok" and record.mean_length == 3
    assert record.outside.kind == "echo" and record.outside.no_kl == "its log-probabilities are not known"
    assert verify(folder) == []
    with pytest.raises(UserError, match="echo:on is the only one"):
        run(make_spec(task="imdb_two_group", policy="echo:off", sets=parse_sets(TINY_SETS)), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_stranger_s_fault_is_told_as_his(tmp_path, lent):
    @pb.policy("broken")
    def broken(request: PolicyRequest, options: pb.NoOptions) -> Echo:
        """Fails."""
        raise ZeroDivisionError("of mine")

    spec = make_spec(task="imdb_two_group", policy="broken:x", sets=parse_sets(TINY_SETS))
    with pytest.raises(AlignerFailed, match="policy 'broken:x' failed with ZeroDivisionError: of mine"):
        run(spec, tmp_path)


def test_the_identity_of_a_policy_makes_its_samples(tmp_path, lent):
    made = {"version": 1}

    @pb.policy("versioned")
    def versioned(request: PolicyRequest, options: pb.NoOptions) -> Outside:
        """Echoes as many words as its version says."""
        return Outside(Echo(made["version"]), identity=dict(made))

    spec = make_spec(task="imdb_two_group", policy="versioned:x", sets=parse_sets(TINY_SETS))
    lengths, digests = [], set()
    for made["version"] in (1, 2):
        _, record = run(spec, tmp_path)
        lengths.append(record.mean_length)
        digests.add(record.outside.digest)
    assert lengths == [1, 2] and len(digests) == 2


def test_kinds_are_listed_and_shown():
    names = {entry["name"] for entry in json.loads(typed("list", "policies", "--json").out)}
    assert names == {"folder", "responses", "server"}
    shown = typed("show", "policy", "server")
    assert "named: --policy server:SOURCE" in shown.out and "policy.temperature" in shown.out
    wrong = typed("show", "sever")
    assert wrong.code == 2 and "Did you mean 'server'?" in wrong.error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--policy", "x.jsonl"], "write KIND:SOURCE, such as responses:outputs.jsonl; kinds are folder"),
        (["--policy", "responses: "], "write KIND:SOURCE"),
        (["--policy", "respones:x"], "unknown kind of policies 'respones'. Did you mean 'responses'?"),
        (["--policy", "responses:x", "--aligner", "dpo"], "takes the place of aligner 'dpo'"),
        (["--aligner", "responses:x"], "say --policy responses:x."),
        (["--policy", "responses:x", "--set", "policy.emtpy=count"], "Did you mean 'empty'?"),
        (["--aligner", "dpo", "--set", "policy.empty=count"], "unknown option section 'policy'"),
    ],
)
def test_wrong_names_are_one_line(tmp_path, words, said):
    done = typed("run", *TASK, "--runs-dir", tmp_path / "runs", *words)
    assert done.code == 2 and said in done.error
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--name", "a\nb"], "the policy's name has to be one line"),
        (["--name", "x" * 201], "the policy's name has to be one line"),
        (["--trainer", " "], "the policy's trainer has to be one line"),
        (["--link", "example.org"], "give one that begins with https://"),
        (["--link", "javascript:alert(1)"], "give one that begins with https://"),
    ],
)
def test_what_is_said_of_a_policy_is_bounded(tmp_path, words, said):
    done = evaluated("responses:x", tmp_path / "runs", *words)
    assert done.code == 2 and said in done.error


def test_a_world_has_no_such_policies(tmp_path):
    done = typed("run", "--task", "bandit_two_group", "--policy", "responses:x", "--runs-dir", tmp_path)
    assert (
        done.code == 2
        and "policies of kind 'responses' do not apply to task 'bandit_two_group'" in done.error
    )


def test_an_aligner_may_not_be_called_like_a_policy(lent):
    with pytest.raises(UserError, match="before a colon stands a kind of policies"):

        @pb.aligner("responses:mine")
        def mine(view, backbone, options: pb.NoOptions) -> Echo:
            """Pretends."""


def test_from_python(tmp_path):
    file = write_lines(tmp_path / "out.jsonl", answers(tmp_path))
    options = parse_sets(TINY_SETS)
    results = pb.run(
        "imdb_two_group",
        policy=f"responses:{file}",
        runs_dir=tmp_path / "runs",
        task_options=options["task"],
        model_options=options["model"],
        quiet=True,
    )
    assert results.record.outside.name == "out.jsonl"


# -------------------------------------------------------------------------- people and instructions


@pytest.fixture
def told(lent):
    @pb.task("told_apart", version=1)
    def told_apart(data: str, minority_ratio: float, seed: int) -> Problem:
        """Reviews with instructions."""
        texts = synthetic_reviews(400, seeds.rng(seed, "corpus")).texts
        prompts = list(dict.fromkeys(" ".join(text.split()[:6]) for text in texts))
        return Problem(
            groups=(
                Group("kind", 1 - minority_ratio, VaderSum(empty=-10.0), "say it kindly."),
                Group("short", minority_ratio, Conciseness(empty=-8.0), "say it in short."),
            ),
            prompts=Prompts(tuple(prompts[:80]), tuple(prompts[80:96]), tuple(prompts[96:126])),
            corpus=texts,
            annotators=8,
            pairs_per_annotator=10,
            temperature=0.3,
            response_tokens=8,
        )


def test_a_policy_that_can_be_told_is_asked_with_instructions(tmp_path, told, echo):
    spec = make_spec(task="told_apart", policy="echo:on", sets=parse_sets(NANO))
    folder, record = run(spec, tmp_path)
    assert all(group.prompted is not None for group in record.groups)
    assert verify(folder) == []
    assert not any(checked.wrong for checked in verify_board(runs_in(tmp_path)))


def test_a_table_is_not_told_and_says_so(tmp_path, told):
    spec = make_spec(task="told_apart", aligner="reference")
    problem = registry.get("task", "told_apart").function(spec.data, spec.minority_ratio, spec.seed)
    rows = [{"prompt": prompt, "response": "a joy ."} for prompt in problem.prompts.test]
    file = write_lines(tmp_path / "out.jsonl", rows)
    folder, record = run(
        make_spec(task="told_apart", policy=f"responses:{file}", sets=parse_sets(NANO)), tmp_path / "runs"
    )
    assert all(group.prompted is None for group in record.groups)
    assert record.prompted_worst_group_win_rate is None
    assert "not asked with a group's instruction" in record.notes[0]
    assert verify(folder) == []


def test_people_judge_it_each_by_her_own_utility(tmp_path, echo):
    more = parse_sets([*TINY_SETS, "task.spread=0.5", "task.unseen_annotators=4", "task.context_pairs=2"])
    folder, record = run(make_spec(task="imdb_two_group", policy="echo:on", sets=more), tmp_path)
    assert record.people is not None and record.sees == ()
    assert "conflict" in record.task_report, "what people want is known from what they label"
    assert verify(folder) == []


# --------------------------------------------------------------------------------------------- boards


def test_its_row_is_unranked_and_says_what_is_not_known(board):
    frame = build(board)
    row = frame[frame["role"] == "outside"].iloc[0]
    assert row["aligner"] == "responses:Joy" and row["needs"] == "not verified"
    assert row["outside"] == "trained outside by TRL DPO: needs not verified (https://example.org/joy)"
    assert (row["status"] == "ok" and row["rank"] is not row["rank"]) or str(row["rank"]) == "<NA>"
    assert frame.loc[frame["aligner"] == "dpo", "rank"].tolist() == [1]
    text = show(frame, "markdown")
    assert "| outside" in text and "its intervals are over prompts only" in text
    whole = page(board)
    assert "needs not verified" in whole and "intervals are over prompts only" in whole


def test_it_stands_in_the_csv(board, tmp_path):
    out = tmp_path / "results.csv"
    assert typed("leaderboard", "build", "--runs-dir", board, "--out", out).code == 0
    frame = read_csv(out)
    assert frame.loc[frame["role"] == "outside", "needs"].tolist() == ["not verified"]


def test_it_takes_no_seed_from_the_board_and_lacks_none(board):
    assert tiny_run("reference", board, "--seed", 1).code == 0
    assert tiny_run("dpo", board, "--seed", 1, options=["aligner.epochs=1"]).code == 0
    frame = build(board).set_index("role")
    assert frame.loc["outside", "status"] == "ok" and frame.loc["outside", "seeds"] == "0"
    assert frame.loc["floor", "seeds"] == "0 1"


def test_an_honest_board_verifies_and_can_be_packed(board, tmp_path):
    assert typed("leaderboard", "verify", "--runs-dir", board).code == 0
    packed = tmp_path / "packed.zip"
    done = typed("leaderboard", "pack", board, packed)
    assert done.code == 0, done.err
    assert typed("leaderboard", "verify", "--runs-dir", packed).code == 0


def test_what_is_edited_is_named(board):
    folder = next(folder for folder, record in find_records(board) if record.outside is not None)
    honest = json.loads((folder / "record.json").read_text())
    for name in ("kind", "name", "source", "trainer", "link"):
        forged = {**honest, "outside": {**honest["outside"], name: "another"}}
        write_record(Record.model_validate(forged), folder)
        assert any(f"outside.{name}" in said for said in verify(folder))
    write_record(Record.model_validate({**honest, "outside": None}), folder)
    assert verify(folder)[0] == "outside is missing in the record or in its specification"


def test_a_learner_cannot_pass_for_a_policy_from_outside(board):
    folder = next(folder for folder, record in find_records(board) if record.aligner == "dpo")
    honest = json.loads((folder / "record.json").read_text())
    spec = {**honest["spec"], "outside": {"source": "x"}}
    honest |= {"spec": spec, "spec_hash": digest(spec)[:16]}
    write_record(Record.model_validate(honest), folder)
    assert verify(folder)


def test_a_record_of_before_has_none(board):
    folder = next(folder for folder, record in find_records(board) if record.aligner == "dpo")
    older = json.loads((folder / "record.json").read_text())
    del older["outside"]
    (folder / "record.json").write_text(json.dumps(older | {"schema_version": 6}))
    assert read_record(folder).outside is None and verify(folder) == []


# --------------------------------------------------------------------------------------------- sweeps


def test_a_sweep_takes_policies_beside_aligners(tmp_path):
    file = write_lines(tmp_path / "out.jsonl", answers(tmp_path))
    options = parse_sets(TINY_SETS)
    tables = "".join(
        f"[set.{section}]\n" + "".join(f"{name} = {value}\n" for name, value in chosen.items())
        for section, chosen in options.items()
    )
    sweep = tmp_path / "sweep.toml"
    sweep.write_text(
        f'task = "imdb_two_group"\naligner = "reference"\npolicy = "responses:{file}"\n'
        f'runs_dir = "{tmp_path / "runs"}"\n{tables}'
    )
    planned = typed("sweep", sweep, "--dry-run")
    assert planned.code == 0 and "responses:out.jsonl" in planned.out
    assert "reference" in planned.out
    sweep.write_text(sweep.read_text().replace('aligner = "reference"\n', ""))
    done = typed("sweep", sweep, "--workers", 1)
    assert done.code == 0, done.err
    ((_, record),) = find_records(tmp_path / "runs")
    assert record.aligner == "responses:out.jsonl" and record.mean_length == 2
    write_lines(file, answers(tmp_path, "the plot was dull ."))
    assert typed("sweep", sweep, "--workers", 1).code == 0
    lengths = [r.mean_length for _, r in find_records(tmp_path / "runs") if r.outside is not None]
    assert lengths == [4], "the edited file was measured anew"
    sweep.write_text('task = "imdb_two_group"\naligner = "responses:x"\n')
    assert 'write policy = "responses:x"' in typed("sweep", sweep).error
    sweep.write_text('task = "imdb_two_group"\npolicy = "respones:x"\n')
    assert "Did you mean 'responses'?" in typed("sweep", sweep).error


def test_a_dry_run_knows_that_nothing_is_learned(tmp_path):
    file = write_lines(tmp_path / "out.jsonl", answers(tmp_path))
    done = typed("run", *TASK, "--policy", f"responses:{file}", "--dry-run", *sets(*TINY_SETS))
    assert done.code == 0 and "The policy itself is not counted" in done.out
    assert "training of this aligner is not known" not in done.out


def test_names_of_runs_are_safe(tmp_path):
    spec = make_spec(task="imdb_two_group", policy="responses:/a/../b c/é.jsonl")
    assert "/" not in run_name(spec) and spec.aligner == "responses:é.jsonl"
