"""Many processes on one runs folder: each ends well, and together they leave what one alone leaves."""

import subprocess
import sys
from pathlib import Path

from prefbench.record.evidence import read_items
from prefbench.record.files import ITEMS_FILE, find_records
from prefbench.record.verify import comparable

PROCESSES = 8
WORDS = ["run", "--task", "bandit_two_group", "--aligner", "maxmin", "--quiet"]
SMALL = ["task.test_prompts=30", "task.annotators=6", "task.pairs_per_annotator=4"]


def started(folder: Path) -> subprocess.Popen[str]:
    sets = [word for item in SMALL for word in ("--set", item)]
    command = [sys.executable, "-m", "prefbench", *WORDS, *sets, "--runs-dir", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def content(folder: Path) -> dict[str, bytes]:
    """Every file of the stages but locks and what says when it was made, by name."""
    files = [path for path in (folder / "stages").rglob("*") if path.is_file()]
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files
        if path.suffix != ".lock" and path.name != "done.json"
    }


def test_eight_processes_on_one_folder_leave_what_one_leaves(tmp_path):
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    processes = [started(alone), *(started(shared) for _ in range(PROCESSES))]
    ends = [(*process.communicate(timeout=300), process.returncode) for process in processes]
    assert ends == [("", "", 0)] * (PROCESSES + 1)
    assert content(shared) == content(alone) and content(alone)
    assert not list(shared.rglob("*.partial")) and not list(shared.rglob("*.tmp"))
    ((one, ours),) = find_records(alone)
    ((other, theirs),) = find_records(shared)
    assert comparable(ours) == comparable(theirs)
    assert (one / ITEMS_FILE).read_bytes() == (other / ITEMS_FILE).read_bytes()
    assert len(read_items(other)) == 30
