"""Boards and comparisons as parts of a paper: formats, rows and columns, another measure to rank by."""

import csv
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pandas as pd
import pytest

from prefbench.boards.choose import chosen_columns, chosen_rows
from prefbench.boards.csv_file import write_csv
from prefbench.boards.pack import pack
from prefbench.boards.ranks import MAY_RANK
from prefbench.boards.show import SHOWN, show
from prefbench.boards.table import build
from prefbench.boards.tabular import document
from prefbench.errors import UserError
from support.boards import BAD, GOOD, board
from support.commands import typed

EVIL = [
    r"\input{/etc/passwd} & 50% of $x_1^2$ \\ #{} ~ <b>",
    "[1, \\write18{id}] <script>alert(1)</script>",
    "* \x1b[31m'quoted' \"q\" `t` | pipe",
    "=cmd()|'/c calc'!A0",
    "0.5 [0.1, 0.9] looks like a figure",
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two clear learners and a middling one on two boards."""
    folder = tmp_path_factory.mktemp("runs")
    middle = {"many": 0.95, "few": 0.45}
    for ratio in (0.2, 0.5):
        board(folder, {"good": GOOD, "bad": BAD, "mid": middle}, minority_ratio=ratio)
    return folder


# ------------------------------------------------------------------------------------------ documents


def test_figures_are_mathematics_in_latex_and_names_are_spelt():
    rows = [["1 [1, 2]", "good_one", "0.72 [0.65, 0.79] few", "-0.03", "1.2e-05", "57*"]]
    header = ["rank", "al_igner", "worst group", "A - B", "p", "2"]
    lines = document(header, rows, "latex", ["as of 5%\nnow"], {(0, 2)}).splitlines()
    assert lines[1].strip() == r"\begin{tabular}{rllrrr}"
    assert [part.strip() for part in lines[5].removesuffix(r"\\").split("&")] == [
        r"$1\,[1, 2]$",
        r"good\_one",
        r"$\mathbf{0.72}\,[0.65, 0.79]$ few",
        "$-0.03$",
        r"$1.2 \times 10^{-5}$",
        "$57$*",
    ]
    assert [lines[2], lines[4], lines[6]] == [r"\toprule", r"\midrule", r"\bottomrule"]
    assert lines[-1] == "% as of 5% now"


def test_no_name_is_taken_for_latex():
    """What is left once every escape is taken away holds nothing that LaTeX reads."""
    table = document(["x"], [[evil] for evil in EVIL], "latex")
    body = table.split(r"\midrule")[1].split(r"\bottomrule")[0]
    for line in body.strip().splitlines():
        cell = line.removesuffix(r"\\").strip()
        assert not cell.startswith(("[", "*"))
        words = re.sub(r"\\text[a-z]+\{\}|\\[&%$#_{}]", "", cell.removeprefix("{}"))
        words = re.sub(r"^\$[0-9.]+(\\,\[[0-9., ]+\])?\$", "", words)
        assert not set(words) & set("\\&%$#_{}~^"), words


def test_no_name_is_taken_for_html():
    class Reader(HTMLParser):
        def __init__(self):
            super().__init__()
            self.tags, self.text = set(), []

        def handle_starttag(self, tag, attrs):
            self.tags.add(tag)

        def handle_data(self, data):
            self.text.append(data)

    reader = Reader()
    reader.feed(document(["<i>x"], [[evil] for evil in EVIL], "html", ["<u>note"]))
    assert reader.tags == {"table", "thead", "tbody", "tr", "th", "td", "p"}
    said = " ".join(" ".join(reader.text).split())
    assert "<script>alert(1)</script>" in said and "<u>note" in said and "\\x1b[31m" in said


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
def test_latex_takes_it(tmp_path):
    table = document(["a_b", "n"], [[evil, "0.5 [0.1, 0.9]"] for evil in EVIL], "latex", ["note %"], {(0, 1)})
    packages = r"\usepackage{booktabs}\usepackage[T1]{fontenc}"
    text = rf"\documentclass{{article}}{packages}\begin{{document}}" + f"\n{table}\n" + r"\end{document}"
    (tmp_path / "t.tex").write_text(text)
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "t.tex"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]


def test_best_stands_out_only_where_the_sets_of_ranks_say_so(runs):
    frame = chosen_rows(build(runs), minority_ratio=0.2)
    assert frame["rank_low"].tolist() == [1, 2, 3]
    for fmt, mark in (("latex", r"\mathbf"), ("html", "<b>")):
        said = show(frame, fmt)
        (line,) = [line for line in said.splitlines() if mark in line]
        assert "good" in line and "bold: surely the best" in said
        alike = show(frame.assign(rank_high=[2, 2, 3]), fmt)
        assert mark not in alike and "bold" not in alike
    assert "task toy@1, model nano, data synthetic, ratio 0.2, status ok" in show(frame, "latex")


# ----------------------------------------------------------------------------------------- rows, columns


def test_columns_are_chosen_by_name(runs):
    frame = build(runs)
    said = show(frame, "markdown", columns=["aligner,RATIO", "worst, told", "gap_sd", "status"])
    head, _, first, *_ = said.splitlines()
    assert [part.strip() for part in head.split("|")[1:-1]] == [
        *("aligner", "ratio", "worst, told", "gap_sd", "status"),
    ]
    assert re.search(r"\| 0\.\d{3} +\| ok", first)
    assert "status" in show(frame, "table", columns=["status", "aligner"])  # though all rows agree
    rows = list(csv.DictReader(io.StringIO(show(frame, "csv", columns=["aligner", "worst group", "kl"]))))
    assert list(rows[0]) == [
        *("aligner", "variant", "worst_group_win_rate", "worst_group_win_rate_low"),
        *("worst_group_win_rate_high", "worst_group", "kl"),
    ]
    assert [float(row["worst_group_win_rate"]) for row in rows] == frame["worst_group_win_rate"].tolist()
    with pytest.raises(UserError, match=r"no column 'worst grup'\. Did you mean 'worst group'"):
        show(frame, "csv", columns=["aligner, worst grup"])
    for name in SHOWN:
        assert chosen_columns([name], SHOWN) == [name]
        assert show(frame, "csv", columns=[name])


def test_rows_are_chosen_and_keep_their_ranks(runs):
    frame = build(runs)
    part = chosen_rows(
        frame, task="toy", aligners=["bad"], minority_ratio=0.5, model="nano", data="synthetic"
    )
    assert part["aligner"].tolist() == ["bad"] and part["rank"].tolist() == [3]
    assert len(chosen_rows(frame, task="toy@1", aligners=[frame["config_hash"][0]])) == 1
    for asked, said in [
        ({"task": "toi"}, r"no row of task 'toi'\. Did you mean 'toy'"),
        ({"aligners": ["god"]}, r"no row of aligner 'god'\. Did you mean 'good'"),
        ({"model": "x"}, r"no row of model 'x'\. Known: nano"),
        ({"minority_ratio": 0.3}, r"minority ratios there are 0\.2, 0\.5"),
    ]:
        with pytest.raises(UserError, match=said):
            chosen_rows(frame, **asked)


def test_another_measure_ranks_runs_anew(tmp_path):
    board(tmp_path, {"fair": {"many": 0.6, "few": 0.55}, "crowd": {"many": 0.97, "few": 0.3}})
    whole = build(tmp_path)
    assert whole["aligner"].tolist() == ["fair", "crowd"]
    words = ["leaderboard", "show", tmp_path, "--format", "csv", "--columns", "aligner,rank"]
    said = typed(*words, "--rank-by", "majority_win_rate")
    assert said.out.splitlines()[1:] == ["crowd,,1,1,1", "fair,,2,2,2"]
    pack([tmp_path], tmp_path / "board.zip")
    words[2] = tmp_path / "board.zip"
    assert typed(*words, "--rank-by", "majority_win_rate").out == said.out
    table = typed("leaderboard", "show", tmp_path, "--format", "markdown", "--rank-by", "mean_win_rate").out
    assert "second by mean win rate" in table
    for measure, why in [
        ("gap", f"'gap' ranks nobody; what may is {', '.join(MAY_RANK)}"),
        ("mean_win_rat", "Did you mean 'mean_win_rate'"),
        ("egalitarian_regret", "no row can be ranked by egalitarian_regret"),
    ]:
        refused = typed("leaderboard", "show", tmp_path, "--rank-by", measure)
        assert refused.code == 2 and why in refused.err
    write_csv(whole, tmp_path / "board.csv")
    refused = typed("leaderboard", "show", tmp_path / "board.csv", "--rank-by", "mean_win_rate")
    assert refused.code == 2 and "give the runs folder" in refused.err


# ----------------------------------------------------------------------------------------- comparisons


def test_a_comparison_in_every_format(runs):
    words = ["leaderboard", "compare", "good", "bad", "--runs-dir", runs, "--minority-ratio", "4:1"]
    rows = list(csv.DictReader(io.StringIO(typed(*words, "--format", "csv").out)))
    worst = next(row for row in rows if row["measure"] == "worst_group_win_rate")
    assert len(worst["difference"]) > 6  # nothing is rounded for the eye
    shown = f"{float(worst['difference']):+.3f}"
    for fmt, cell in (("latex", f"${shown}$"), ("html", f"{shown}</td>"), ("markdown", f"| {shown}")):
        said = typed(*words, "--format", fmt)
        assert said.code == 0 and cell in said.out and "p corrected by Holm" in said.out
    few = typed(*words, "--format", "markdown", "--columns", "win rate,A - B").out.splitlines()
    assert [part.strip() for part in few[0].split("|")[1:-1]] == ["win rate", "A - B"]
    assert typed(*words, "--columns", "C").code == 2
    assert typed(*words, "--json", "--format", "csv").code == 2


def test_a_matrix_in_every_format(runs):
    words = ["leaderboard", "compare", "--matrix", "--runs-dir", runs, "--minority-ratio", "4:1"]
    frame = pd.read_csv(io.StringIO(typed(*words, "--format", "csv").out))
    assert len(frame) == 6 and frame["win_rate"].between(0, 1).all()
    assert typed(*words, "--format", "latex").out.count(r"\begin{tabular}{rl") == 2
    assert typed(*words, "--format", "html").out.count("<table>") == 2
    assert typed(*words, "--format", "markdown").out.count("| policy ") == 2
    assert typed(*words, "--columns", "A").code == 2
