"""Every figure at the size at which it is printed: nothing cut, nothing over anything else."""

import pytest

from prefbench.boards.frontier import by_board, frontiers_of
from prefbench.boards.matrix import head_to_head
from prefbench.boards.ranks import roles
from prefbench.boards.rows import load_rows
from prefbench.boards.table import frame_of
from prefbench.report.drawing import WIDTHS, fixed, name_beside, text_width
from prefbench.report.duels_plot import draw_duels
from prefbench.report.figures import settings_of
from prefbench.report.frontier_plot import draw_frontier
from prefbench.report.people_plot import draw_people, people_boards
from prefbench.report.setting_plots import DRAWN
from prefbench.report.slices_plot import Configuration, Slices, draw_slices, slices_of
from prefbench.report.styles import styles_of
from support.records import make_run
from support.told import told_board

LONG = ["single_reward_balanced_beyond_measure", "maxmin_known_groups", "dpo", "maxmin"]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Long names, three ratios, and one aligner with several strengths."""
    runs = tmp_path_factory.mktemp("runs")
    for ratio in (0.5, 0.2, 0.0909):
        for i, aligner in enumerate(LONG):
            make_run(runs, {"many": 0.9, "few": 0.2 + 0.15 * i}, aligner=aligner, minority_ratio=ratio)
    for strength in (0.01, 0.1, 1.0):
        options = {"beta": strength, "loss": f"a {strength} of a loss with a long name"}
        make_run(runs, {"many": 0.9, "few": 0.6}, aligner="dpo", kl=1 / strength, aligner_options=options)
    return load_rows(runs)


def check(figure):
    """No text leaves the figure or meets another one, and no legend covers axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    whole = figure.bbox
    shown = [
        text
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and text.get_window_extent(renderer).width
    ]
    ticks = [label for axes in figure.axes for label in [*axes.get_xticklabels(), *axes.get_yticklabels()]]
    in_cells = [text for axes in figure.axes for text in axes.texts]
    boxes = []
    for text in shown:
        if text in ticks and not _is_drawn(text, figure):
            continue
        box = text.get_window_extent(renderer)
        inside = box.x0 >= whole.x0 - 1 and box.x1 <= whole.x1 + 1 and box.y0 >= -1 and box.y1 <= whole.y1 + 1
        assert inside, f"{text.get_text()!r} is cut: {box} of {whole}"
        if text not in in_cells:
            boxes.append((text.get_text(), box.padded(-1.5)))
    for i, (said, box) in enumerate(boxes):
        for other, beside in boxes[i + 1 :]:
            assert not box.overlaps(beside), f"{said!r} and {other!r} overlap"
    for key in figure.legends:
        box = key.get_window_extent(renderer)
        assert box.x0 >= whole.x0 and box.x1 <= whole.x1 and box.y0 >= 0
        for axes in figure.axes:
            assert not axes.get_visible() or not box.overlaps(axes.get_window_extent(renderer))
    return shown


def _is_drawn(label, figure):
    """Whether the tick of a label lies within its axis and its panel is there."""
    for axes in figure.axes:
        for axis, bounds in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            for tick in axis.get_major_ticks():
                if label in (tick.label1, tick.label2):
                    low, high = sorted(bounds)
                    return axes.get_visible() and low <= tick.get_loc() <= high
    return False


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", [name for name in DRAWN if name != "training"])
def test_nothing_of_a_settings_figure_is_cut(rows, name, width):
    (setting,) = settings_of(frame_of(rows), rows)
    with fixed():
        figure = DRAWN[name](setting, setting.cells, WIDTHS[width])
        assert figure.get_figwidth() == WIDTHS[width]
        said = {text.get_text() for text in check(figure)}
    assert any("toy version 1" in text for text in said)


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_of_the_others_is_cut(rows, tmp_path, width):
    inches = WIDTHS[width]
    first = [row for row in rows if row.first.minority_ratio == 0.2]
    with fixed():
        check(draw_duels(head_to_head(first), inches))
        for found in by_board(frontiers_of(rows)).values():
            check(draw_frontier(found, roles(rows), inches))
        told = load_rows(told_board(tmp_path))
        ((label, board),) = people_boards(told).items()
        check(draw_people(label, board, roles(told), inches))


@pytest.mark.parametrize("width", WIDTHS)
def test_slices_have_a_panel_for_each_option(rows, width):
    (slices,) = slices_of(settings_of(frame_of(rows), rows), ["dpo"])
    assert slices.varied() == ["beta", "loss"]
    assert sorted(each.options["beta"] for each in slices.configurations if each.options) == [0.01, 0.1, 1]
    with fixed():
        figure = draw_slices(slices, WIDTHS[width])
        said = {text.get_text() for text in check(figure)}
    assert {"beta", "loss", "0.01", "0.1", "1"} <= said


def test_what_was_chosen_has_a_ring():
    tried = [Configuration({"beta": 2.0**i, "on": i % 2 == 0}, 0.1 * i, chosen=i == 2) for i in range(6)]
    style = styles_of({"dpo": "learner"})["dpo"]
    with fixed():
        figure = draw_slices(Slices("dpo", "toy@1", "score", style, tuple(tried)), 3.3)
        check(figure)
    rings = [
        line.get_xydata().tolist()
        for axes in figure.axes
        for line in axes.lines
        if line.get_markerfacecolor() == "none"
    ]
    assert rings == [[[4.0, pytest.approx(0.2)]], [[1, pytest.approx(0.2)]]]


def test_a_name_breaks_before_its_options():
    assert name_beside("dpo (aligner.beta=0.5)", 2.0) == "dpo (beta=0.5)"
    assert (
        name_beside("single_reward (kl_coefficient=0.0965)", 1.4) == "single_reward\n(kl_coefficient=0.0965)"
    )
    assert text_width("wide") > text_width("l") > 0
