"""The notebooks of the documentation: each runs from top to bottom, and shows what its text says."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from support.notebooks import SOURCES, parts, script
from support.pages import PAGES, ROOT

NAMES = [Path(name).stem for name in SOURCES]
PRINTED = {
    "first_run": (
        "Worst off: top corner, the minority, wins",
        "```text\nTrue\n```",
        "No group is clearly worst off",
    ),
    "seeds": ("<summary>seed 4: ", "over 5 seeds (0 1 2 3 4)", "A maxmin, B single_reward", "<td>floor</td>"),
    "own_aligner": (
        "option aligner.care=2: Input should be less than or equal to 1",
        "labels stored\npolicy made anew",
        "as with care=0: True",
    ),
    "personal": ("Room: ", "8 pairs, shuffled"),
    "frames": ("Index(['task', 'model',",),
}
"""What each notebook's text speaks of, and its cells show."""
FIGURES = {"first_run": 0, "seeds": 2, "own_aligner": 0, "personal": 1, "frames": 1}


def made(name):
    """What a notebook becomes; it is executed once in a process."""
    return script().pages_of(name, SOURCES[f"docs/notebooks/{name}.py"])


def test_there_is_a_notebook_for_each_of_these():
    assert sorted(NAMES) == sorted(PRINTED) == sorted(FIGURES)


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_and_shows_what_it_says(name):
    files = made(name)
    page = files[f"{name}.md"]
    for said in PRINTED[name]:
        assert said in page
    pictures = [file for file in files if file.endswith(".png")]
    assert len(pictures) == FIGURES[name] == page.count("![figure](")
    assert all(files[picture].startswith(b"\x89PNG") for picture in pictures)
    done = nbformat.reads(files[f"{name}.ipynb"], as_version=4)
    nbformat.validate(done)
    outputs = [output for cell in done.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert str(ROOT) not in files[f"{name}.ipynb"] and "/tmp" not in page


def test_a_few_pairs_turn_the_order_round():
    """As the text of the notebook says."""
    rows = re.findall(
        r"<th>(\d+)</th>\s*<td>([\d.]+)</td>\s*<td>([\d.]+)</td>", made("personal")["personal.md"]
    )
    curve = {int(n): (float(maxmin), float(pal)) for n, maxmin, pal in rows}
    assert list(curve) == [0, 1, 2, 4, 8, 16]
    assert curve[0][0] > curve[0][1] and curve[8][0] < curve[8][1] and curve[16][0] < curve[16][1]


def test_a_number_is_computed_again_from_the_items():
    page = made("frames")["frames.md"]
    assert re.search(r"```text\n(0\.\d+) \1\n```", page)


@pytest.mark.parametrize("source", SOURCES)
def test_links_lead_to_files(source):
    text, _ = parts(SOURCES[source])
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", text)]
    assert targets
    for target in targets:
        assert ((ROOT / source).parent / target).is_file(), target


def test_every_notebook_is_in_the_index():
    told = re.findall(r"\]\((notebooks/\w+\.py)\)", PAGES["docs/index.md"])
    assert sorted(told) == sorted(name.removeprefix("docs/") for name in SOURCES)


def test_a_notebook_that_fails_is_no_page():
    with pytest.raises(CellExecutionError, match="on purpose"):
        script().pages_of("broken", "# %%\nraise ValueError('on purpose')\n")


def test_outputs_become_markdown():
    text = (
        "# %% [markdown]\n# A *text*.\n\n# %%\nprint('<a>')\n\n# %%\n'x'\n\n"
        "# %%\nclass Page:\n    def _repr_html_(self):\n        return '<b>bold</b>'\n\nPage()\n"
    )
    files = script().pages_of("small", text)
    page = files["small.md"]
    assert page.startswith("A *text*.\n\n```python\nprint('<a>')\n```\n\n```text\n<a>\n```\n\n")
    assert "```text\n'x'\n```" in page
    assert '<div class="nb-output">\n<b>bold</b>\n</div>' in page
    assert page.endswith("[Download this notebook](small.ipynb)\n") and set(files) == {
        "small.md",
        "small.ipynb",
    }


def test_files_are_written(tmp_path, monkeypatch):
    monkeypatch.setattr(script(), "pages", lambda: iter([("a.md", "text"), ("a.png", b"\x89")]))
    script().main(tmp_path / "new")
    assert (tmp_path / "new" / "a.md").read_text() == "text"
    assert (tmp_path / "new" / "a.png").read_bytes() == b"\x89"
