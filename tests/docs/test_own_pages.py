"""Guides to aligners and a task of one's own: their files keep what they promise and do what is said."""

import re
import shlex
from inspect import unwrap

import pytest
import torch

from prefbench import registry
from prefbench.boards.csv_file import read_csv
from prefbench.record.files import find_records
from support.commands import sets, typed
from support.pages import PAGES, fenced

FILES = {
    name: body
    for page in ("docs/own-aligner.md", "docs/own-task.md")
    for name, body in re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)^```$", PAGES[page], re.M | re.S)
}
ENDS = ("", "_low", "_high")
"""Columns of an estimate: itself and its interval."""
SMALL = sets("task.annotators=10", "task.pairs_per_annotator=10", "task.test_prompts=40")


@pytest.fixture
def here(tmp_path, monkeypatch, restored):
    monkeypatch.chdir(tmp_path)
    for name, body in FILES.items():
        (tmp_path / name).write_text(body)
    return tmp_path


def record(folder):
    ((_, found),) = find_records(folder / "runs")
    return found


def test_the_pages_show_three_aligners_and_a_task():
    assert set(FILES) == {"hinge_dpo.py", "unanimous.py", "dpo_by_group.py", "canteen.py"}


@pytest.mark.parametrize("name", ["hinge_dpo", "unanimous", "dpo_by_group"])
def test_the_aligners_run_in_a_world(name, here):
    words = ["run", "--plugin", f"{name}.py", "--task", "gridworld_two_group", "--aligner", name, *SMALL]
    done = typed(*words)
    assert done.code == 0, done.err
    assert record(here).status == "ok"


def test_the_loss_is_the_one_of_the_page(here):
    registry.load_plugins(["hinge_dpo.py"])
    hinge = unwrap(registry.get("aligner", "hinge_dpo").function).__globals__["Hinge"]
    assert hinge(0.5)(torch.tensor([0.0, 2.0, 4.0])).tolist() == [1, 0, 0]


def test_whoever_names_her_group_is_answered_by_its_policy(here):
    words = ["--plugin", "dpo_by_group.py", "--task", "gridworld_two_group", "--aligner", "dpo_by_group"]
    assert typed("run", *words, *sets("task.unseen_annotators=20")).code == 0
    by_n = {stratum.n: stratum for stratum in record(here).people.strata if not stratum.seen}
    nothing, known = ({group.name: group.win_rate for group in by_n[n].groups} for n in (0, 1))
    assert nothing["top corner"] < 0.5 < known["top corner"]


def test_the_canteen_keeps_its_promises(here):
    done = typed("check", "canteen.py")
    assert done.code == 0 and "failed" not in done.out, done.out


def test_three_clusters_find_the_three_groups_of_the_canteen(here):
    words = ["--plugin", "canteen.py", "--task", "canteen", "--aligner", "maxmin", "--seed", 4]
    assert typed("run", *words, *sets("aligner.clusters=3")).code == 0
    found = record(here)
    assert found.em.adjusted_rand_index == 1
    assert [group.share for group in found.groups] == pytest.approx([14 / 30, 10 / 30, 6 / 30], abs=1e-4)
    assert typed("run", *words, "--minority-ratio", "1:1").code == 2


@pytest.mark.slow
def test_the_table_of_clusters_is_what_its_commands_print(here):
    """Twenty runs, half a minute."""
    page = PAGES["docs/clusters.md"]
    (body,) = (block for block in fenced("docs/clusters.md", "sh") if "canteen.csv" in block)
    for line in body.splitlines():
        done = typed(*shlex.split(line)[1:])
        assert done.code == 0, done.err
    printed = set()
    for row in read_csv(here / "canteen.csv").itertuples():
        worst, regret = (
            "{:.{n}f} [{:.{n}f}, {:.{n}f}]".format(*(getattr(row, f"{name}{end}") for end in ENDS), n=n)
            for name, n in (("worst_group_win_rate", 2), ("egalitarian_regret", 3))
        )
        printed.add(f"{worst} | {regret} |")
    table = page.split("<!-- clusters -->")[1].split("<!-- /clusters -->")[0]
    shown = {line.split(" | ", 1)[1] for line in table.splitlines() if "[" in line}
    assert shown == printed
