"""prefbench in the kernel of a notebook: what its cells show, and that an edited cell is run anew."""

from __future__ import annotations

from support.notebooks import printed, run_cells
from support.small_world import SMALL, WORLD

RUN = f"""
import warnings; warnings.simplefilter("error")
import prefbench as pb
result = pb.run({WORLD!r}, "longest", seeds=[3, 4], task_options={SMALL})
result
"""
ALIGNER = '''
@pb.aligner("in_a_cell")
def in_a_cell(view: pb.View, backbone: pb.Backbone, options: PairwiseOptions) -> pb.Policy:
    """DPO of some strength."""
    return backbone.fit_pairwise(pairs_of(view.preferences["train"]), loss(), options, seed=view.seed)
'''
HEAD = """
import prefbench as pb
from prefbench.learn.options import PairwiseOptions
from prefbench.learn.pairwise import DPO
from prefbench.learn.rewards import pairs_of
"""
LOSS = """
def loss():
    return DPO({beta})
"""
TOLD = f"""
record = pb.run({WORLD!r}, "in_a_cell", task_options={SMALL}, quiet=True).record
print(record.stages["policy"], [group.mean_utility for group in record.groups], record.plugins[0].name)
"""


def test_a_run_leaves_a_line_for_each_seed_and_its_tables() -> None:
    (outputs,) = run_cells(RUN)
    assert [output.output_type for output in outputs] == ["display_data", "display_data", "execute_result"]
    for output, seed in zip(outputs, (3, 4), strict=False):
        page = output.data["text/html"]
        assert f"<summary>seed {seed}: " in page and "<td>policy</td>" in page and "<progress" not in page
        assert output.data["text/plain"].startswith(f"seed {seed}: ")
    assert "over 2 seeds (3 4)" in outputs[-1].data["text/html"]
    assert "over 2 seeds (3 4)" in outputs[-1].data["text/plain"]


def test_a_quiet_run_shows_nothing() -> None:
    (outputs,) = run_cells(RUN.replace("seeds=[3, 4]", "seeds=[3], quiet=True").replace("\nresult\n", ""))
    assert outputs == []


def edited(beta: float) -> tuple[str, str, str]:
    """Cells of an aligner whose strength another function has, and of its run."""
    return LOSS.format(beta=beta), ALIGNER, TOLD


def test_an_edited_cell_never_serves_the_result_of_before() -> None:
    outputs = run_cells(
        *(HEAD, *edited(0.1)),
        *(LOSS.format(beta=3.0), TOLD),  # the helper's cell alone is run again
        *(LOSS.format(beta=0.1), TOLD),
        *(ALIGNER.replace("loss()", "DPO(3.0)"), TOLD),  # the aligner's own is
    )
    said = [text for text in map(printed, outputs) if text]
    first, helper, back, own = (line.split()[0] for line in said)
    assert first == back and len({first, helper, own}) == 3
    figures = [line.split(" ", 1)[1] for line in said]
    assert figures[0] == figures[2] != figures[1] == figures[3]
    assert all(line.split()[-1] == "__main__" for line in said)
    (again,) = (text for text in map(printed, run_cells(HEAD, *edited(0.1))) if text)
    assert again == said[0], "the same cells in a new kernel have another key"
