"""docs/api.md: every name of the face, and examples that say what they print."""

import doctest
import re

import prefbench as pb
from support.pages import PAGES, fenced

PAGE = PAGES["docs/api.md"]


def test_the_examples_print_what_they_say(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "\n".join(fenced("docs/api.md", "pycon"))
    options = doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
    test = doctest.DocTestParser().get_doctest(text, {}, "api.md", "docs/api.md", 0)
    said: list[str] = []
    result = doctest.DocTestRunner(optionflags=options).run(test, out=said.append)
    assert result.attempted > 15 and result.failed == 0, "".join(said)


def test_the_page_has_every_name_of_the_face_once():
    names = re.findall(r"^### pb\.(\w+)$", PAGE, re.MULTILINE)
    assert sorted(names) == sorted(set(dir(pb)) - {"PUBLIC_MODULES", "__version__"})
