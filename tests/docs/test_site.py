"""The site: its nav has every page, its hook rewrites links, and nothing is fetched from elsewhere."""

import re
from importlib import util
from types import SimpleNamespace

import pytest
import yaml

from support.notebooks import SOURCES
from support.pages import PAGES, ROOT

MkdocsError = pytest.importorskip("mkdocs.exceptions", reason="the extra `docs` is not installed").PluginError

markdown = pytest.importorskip("markdown")  # what MkDocs reads pages with


class Loader(yaml.SafeLoader):
    """YAML with a tag that names a Python object, which is not made."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: suffix)
Loader.add_constructor("!ENV", lambda loader, node: loader.construct_sequence(node)[-1])  # none is set
CONFIG = yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)  # safe, as its base is


@pytest.fixture(scope="module")
def hook():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "docs" / "scripts")  # as MkDocs does while it loads a hook
        yield loaded()


def loaded():
    spec = util.spec_from_file_location("site_hook", ROOT / "docs" / "scripts" / "site.py")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def page(name):
    return SimpleNamespace(file=SimpleNamespace(src_uri=name))


TITLES = {"y.md": "The ideas", "own-task.md": "Your own task"}
FILES = SimpleNamespace(
    documentation_pages=lambda: [
        *(SimpleNamespace(src_uri=name, page=SimpleNamespace(title=title)) for name, title in TITLES.items()),
        SimpleNamespace(src_uri="left-out.md", page=None),
    ]
)


def test_links_out_of_the_folder_lead_to_what_the_site_has(hook):
    said = "[a](b.md#c) [r](../README.md#x) [d](../CONTRIBUTING.md)"
    said += " [p](../leaderboard/report.html) [`s`](../prefbench)"
    text = hook.on_page_markdown(said, page("x.md"), FILES)
    assert text == "[a](b.md#c) [r](index.md) [d](CONTRIBUTING.md) [p](board.html) `s`"


def test_what_comes_along_has_a_place_of_its_own(hook):
    made = [name.removeprefix("docs/").removesuffix(".md") for name in PAGES if name.startswith("docs/")]
    brought = [place.rpartition(".")[0] for place in hook.BROUGHT.values()]
    assert len(made) > 20 and not set(made) & set(brought)


def test_links_of_pages_from_the_root_lead_into_the_folder(hook):
    assert hook.on_page_markdown("[x](docs/y.md#z)", page("CONTRIBUTING.md"), FILES) == "[x](y.md#z)"


def test_where_a_file_is_named_the_site_says_the_title_of_its_page(hook):
    said = "[y.md](y.md#z) [own-task.md](own-task.md) [left-out.md](left-out.md) [the y](y.md)"
    text = hook.on_page_markdown(said, page("x.md"), FILES)
    assert text == "[The ideas](y.md#z) [Your own task](own-task.md) [left-out.md](left-out.md) [the y](y.md)"
    text = hook.on_page_markdown("[docs/y.md](docs/y.md)", page("CHANGELOG.md"), FILES)
    assert text == "[The ideas](y.md)"


def test_links_to_and_from_notebooks_lead_to_pages(hook):
    said = "[n](notebooks/first_run.py) [p](python.md#records-as-frames)"
    assert hook.on_page_markdown(said, page("x.md"), FILES) == said.replace(".py)", ".md)")
    said = "[s](seeds.py) [p](../python.md#a) [c](../../CHANGELOG.md) [i](first_run.ipynb)"
    text = hook.on_page_markdown(said, page("notebooks/first_run.md"), FILES)
    assert text == "[s](seeds.md) [p](../python.md#a) [c](../CHANGELOG.md) [i](first_run.ipynb)"


def test_notebooks_become_files_of_the_site(hook, monkeypatch):
    monkeypatch.setattr(hook, "pages", lambda: iter([("a.md", "text"), ("a-1-0.png", b"png")]))
    made = []
    monkeypatch.setattr(hook.File, "generated", lambda config, place, content: (place, content))
    files = hook.on_files(made, None)
    assert files[-2:] == [("notebooks/a.md", "text"), ("notebooks/a-1-0.png", b"png")]


def test_pictures_addresses_and_code_stay(hook):
    said = "![r](images/r.svg) [h](https://a.b/c.md) [t](#u)\n\n```md\n[a](../README.md)\n```\n"
    assert hook.on_page_markdown(said, page("x.md"), FILES) == said


def test_names_of_the_code_get_their_docstrings(hook):
    text = hook.on_page_markdown("### pb.run\n\nSays.\n\n## prefbench.work\n\nSays.\n", page("api.md"), FILES)
    assert text.count("::: prefbench.") == 2 and "Says." not in text


@pytest.mark.parametrize(
    "tag",
    [
        '<script src="https://unpkg.com/x"></script>',
        '<link rel="stylesheet" href="//fonts.example/css">',
        "<img alt=x src=http://a.b/c.png>",
    ],
)
def test_what_would_be_fetched_from_elsewhere_is_refused(hook, tag):
    with pytest.raises(MkdocsError, match=r"x\.md would fetch <"):
        hook.on_post_page(f"<p>{tag}</p>", page("x.md"))
    fine = '<a href="https://a.b">x</a><img src="images/r.svg">'
    assert hook.on_post_page(fine, page("x.md")) == fine


@pytest.mark.parametrize("name", PAGES)
def test_stars_in_formulas_are_stars_and_rows_and_items_belong_to_tables_and_lists(name):
    html = markdown.markdown(PAGES[name], extensions=["tables", "pymdownx.superfences"])
    html = re.sub(r"<code>.*?</code>", "", html, flags=re.DOTALL)
    begun_in_a_word = re.findall(r"[\w)\]]<em>(.*?)</em>", html, re.DOTALL)
    assert all(re.fullmatch(r"\w+", words) for words in begun_in_a_word), begun_in_a_word
    assert not re.findall(r"<p>\|.*|^ *- .*", html, re.MULTILINE)


def leaves(nav):
    for entry in nav:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            yield from leaves(value) if isinstance(value, list) else [value]


def test_the_nav_has_every_page_once():
    pages = [name.removeprefix("docs/") for name in PAGES if name != "README.md"]
    pages += [name.removeprefix("docs/").replace(".py", ".md") for name in SOURCES]
    assert sorted(leaves(CONFIG["nav"])) == sorted(pages)


def test_fonts_are_the_readers_own():
    assert CONFIG["theme"]["font"] is False and "repo_url" not in CONFIG


def test_the_search_needs_no_server():
    plugins = CONFIG["plugins"]
    assert plugins.index("offline") > plugins.index("search")
    [script] = CONFIG["extra"]["polyfills"]  # with one of this name the plug-in fetches none
    assert "iframe-worker" in script
    assert (ROOT / "docs" / script).is_file()


def test_titles_in_the_nav_are_told_apart():
    names = list(titles(CONFIG["nav"]))
    assert len(names) == len(set(names))


def titles(nav):
    for entry in nav:
        for name, value in entry.items():
            yield from titles(value) if isinstance(value, list) else [name]
