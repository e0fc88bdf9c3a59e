"""The figures for a paper, and what they are drawn from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from prefbench.cli.entry import app
from prefbench.errors import UserError
from prefbench.record.files import HISTORY_FILE
from prefbench.report.figures import pareto_front, ratio_label
from prefbench.report.plots import save_figures
from support.records import make_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    for aligner, few in (("good $x_1$", 0.75), ("bad <&>", 0.2), ("maxmin", 0.6)):
        for ratio in (0.5, 0.0909):
            for seed in range(2):
                rates = {"many": 0.9, "few": few}
                folder = make_run(runs, rates, aligner=aligner.split()[0], minority_ratio=ratio, seed=seed)
                (folder / HISTORY_FILE).write_text('[{"reward/0": 0, "kl": 0}, {"reward/0": 1, "kl": 2}]')
    make_run(runs, {"many": 0.9, "few": 0.1}, aligner="lone $\\frac{", minority_ratio=0.5, kl=None)
    return runs


@pytest.mark.parametrize(("fmt", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_figures_are_written_and_repeat(runs, tmp_path, fmt, start):
    first = save_figures(runs, tmp_path / "a", fmt)
    names = [f"{name}.{fmt}" for name in ("headline", "shares", "scatter", "gap", "kl", "training")]
    duels = [f"duels-toy_1_nano_synthetic_{ratio}.{fmt}" for ratio in ("0_0909", "0_5")]
    assert [file.name for file in first] == [*names, *duels]
    again = save_figures(runs, tmp_path / "b", fmt)
    for one, other in zip(first, again, strict=True):
        assert one.read_bytes().startswith(start)
        assert one.read_bytes() == other.read_bytes()


def test_chosen_aligners_only(runs, tmp_path):
    files = save_figures(runs, tmp_path, "svg", ["maxmin"])
    text = files[0].read_text()
    assert "<!-- maxmin -->" in text and "<!-- good -->" not in text
    with pytest.raises(
        UserError, match=r"no run of an aligner 'maxmim'\. Did you mean|no run of an aligner 'maxmim'"
    ):
        save_figures(runs, tmp_path, "svg", ["maxmim"])


def test_several_settings_get_names_of_their_own(tmp_path):
    for task in ("one", "two/..", "two.."):
        make_run(tmp_path / "runs", {"many": 0.9, "few": 0.4}, task=task)
    files = save_figures(tmp_path / "runs", tmp_path / "out")
    assert len({file.name for file in files}) == len(files) == 12
    assert {file.parent for file in files} == {tmp_path / "out"}


def test_nothing_to_draw(tmp_path):
    make_run(tmp_path, {"many": 0.9, "few": 0.4}, status="failed")
    with pytest.raises(UserError, match="nothing in"):
        save_figures(tmp_path, tmp_path / "out")


def test_command_line(runs, tmp_path):
    words = [
        "plot",
        "--runs-dir",
        str(runs),
        "--out",
        str(tmp_path / "f"),
        "--format",
        "svg",
        "--aligner",
        "good",
        "--figure",
        "headline",
        "--width",
        "page",
    ]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0, said.output
    assert [file.name for file in (tmp_path / "f").iterdir()] == ["headline.svg"]
    with pytest.raises(UserError, match="no figure 'headlines': there are headline, shares"):
        save_figures(runs, tmp_path, "svg", figures=["headlines"])


@pytest.mark.parametrize(
    ("ratio", "label"),
    [(0.5, "1:1"), (0.2, "4:1"), (0.0909, "10:1"), (0.1429, "6:1"), (0.3, "0.3"), (0.27, "0.27")],
)
def test_ratio_label(ratio, label):
    assert ratio_label(ratio) == label


@given(st.dictionaries(st.integers(), st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_pareto_front(points):
    front = pareto_front({i: (float(x), float(y)) for i, (x, y) in points.items()})
    on = {points[i] for i in front}
    for x, y in points.values():
        beaten = any(a >= x and b >= y and (a, b) != (x, y) for a, b in points.values())
        assert beaten == ((x, y) not in on)
    assert [points[i][0] for i in front] == sorted(points[i][0] for i in front)
