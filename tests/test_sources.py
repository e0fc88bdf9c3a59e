"""Digests of sources: what is followed, what is read whole, and what has no file."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from prefbench import sources


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Makes an own package of texts by module name, and forgets it afterwards."""

    def make(**texts: str) -> None:
        for name, text in texts.items():
            (tmp_path / f"{name}.py").write_text(text)
        (tmp_path / "__init__.py").write_text("")

    caches = (sources.closure, sources._imported, sources._file, sources._text, sources.digest_of)
    packages = {"prefbench": Path(sources.__file__).parent, "own": tmp_path}
    monkeypatch.setattr(sources, "own_packages", lambda: packages)
    for cache in caches:
        cache.cache_clear()
    yield make
    for cache in caches:
        cache.cache_clear()


def reached(root: str, *without: str) -> set[str]:
    return {
        name for name in sources.closure(frozenset({root}), frozenset(without)) if name.startswith("own.")
    }


def test_imports_are_followed_wherever_they_stand(package):
    package(
        a="from own import b\nfrom own.c import (\n    one,\n    two,  # and a remark\n)\n",
        b="def late():\n    import own.d as d\n    return d\n",
        c="import os, own.e\n",
        d="",
        e="",
        f="",
    )
    assert reached("own.a") == {"own.a", "own.b", "own.c", "own.d", "own.e"}
    assert reached("own.a", "own.c") == {"own.a", "own.b", "own.d"}


def test_imports_for_type_checking_do_not_count(package):
    package(
        a="if TYPE_CHECKING:\n    import os\n\n    from own.b import B\n\nfrom own.c import C\n",
        b="",
        c="class C: ...\n",
    )
    assert reached("own.a") == {"own.a", "own.c"}


def test_names_of_the_face_lead_to_where_they_are_defined(package):
    package(a="import prefbench as pb\n\nx: pb.View\n", b="from prefbench import UserError, seeds\n")
    by_use = sources.closure(frozenset({"own.a"}))
    assert "prefbench.problem.view" in by_use and "prefbench.learn.welfare" not in by_use
    assert {"prefbench.errors", "prefbench.seeds"} <= set(sources.closure(frozenset({"own.b"})))


def test_a_digest_tells_texts_and_names_apart(package):
    package(a="x = 1\n", b="x = 1\n", c="x = 2\n")
    digests = [sources.digest_of((name,)) for name in ("own.a", "own.b", "own.c")]
    assert len(set(digests)) == 3


def load(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def digest_of_file(path: Path) -> str | None:
    name = "some_plugin"
    try:
        return sources.origin_of(load(path, name).f).digest
    finally:
        del sys.modules[name]


def test_a_plugin_file_brings_its_neighbours(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "plug.py").write_text("import beside_it\n\ndef f(): return beside_it.x\n")
    (tmp_path / "unrelated.py").write_text("x = 1\n")
    told = []
    for x, more in ((1, 1), (2, 1), (2, 2)):
        (tmp_path / "beside_it.py").write_text(f"x = {x}\n")
        (tmp_path / "unrelated.py").write_text(f"x = {more}\n")
        told.append(digest_of_file(tmp_path / "plug.py"))
        sys.modules.pop("beside_it", None)
    assert told[0] != told[1] == told[2]


@pytest.mark.parametrize(
    "imported", ["from folder import helper", "import folder.helper", "import folder.user"]
)
def test_a_folder_without_an_init_counts_whole(tmp_path, monkeypatch, imported):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "user.py").write_text("from folder import helper\n")
    (tmp_path / "plug.py").write_text(f"{imported}\n\ndef f(): return 1\n")
    told = []
    for x in (1, 2):
        (tmp_path / "folder" / "helper.py").write_text(f"x = {x}\n")
        told.append(digest_of_file(tmp_path / "plug.py"))
        for name in ("folder", "folder.helper", "folder.user"):
            sys.modules.pop(name, None)
    assert told[0] != told[1]


def test_a_package_counts_whole(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    folder = tmp_path / "stranger_package"
    (folder / "deep").mkdir(parents=True)
    (folder / "__init__.py").write_text("def f(): return 1\n")
    told = []
    for text in ("a = 1\n", "a = 2\n"):
        (folder / "deep" / "module.py").write_text(text)
        import stranger_package

        origin = sources.origin_of(stranger_package.f)
        told.append((origin.plugin, origin.digest))
    assert told[0][0] == told[1][0] == "stranger_package"
    assert told[0][1] != told[1][1]


LOSS = """
from dataclasses import dataclass
@dataclass(frozen=True, slots=True)
class Loss:
    beta: float
    gamma: float
"""


SESSION = """
import abc, datetime, functools, random, typing
import numpy as np
import pandas as pd
import torch
import prefbench as pb

class Settings(pb.Options):
    beta: float = 0.1
    names: list[str] | None = None

class Base(abc.ABC):
    __slots__ = ("kept",)
    @abc.abstractmethod
    def m(self) -> typing.Optional[int]: ...

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(2, 1)
        torch.nn.init.ones_(self.inner.weight)
        torch.nn.init.ones_(self.inner.bias)

FRAME = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
RANDOM = random.Random(3), np.random.default_rng(3), datetime.timedelta(2), np.float32(1), torch.float32
NET, STEPS = Net(), functools.lru_cache(lambda x: x)
F = torch.nn.functional

def f(view, backbone: pb.Backbone, options: Settings):
    return FRAME, RANDOM, NET, STEPS, Base, F.relu, options.beta, np.mean, pd.concat, print
"""


def session(text: str) -> ModuleType:
    """A module without a file, as a notebook's is."""
    module = ModuleType("__main__")
    exec(compile(text, "<cell>", "exec", dont_inherit=True), module.__dict__)
    return module


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("def f(): return 1", "def f(): return 2", False),
        ("def f(): return 1", "def f(): return 1", True),
        ("def g(): return 1\ndef f(): return g()", "def g(): return 2\ndef f(): return g()", False),
        ("B = 1\ndef f(): return B", "B = 2\ndef f(): return B", False),
        ("B = [1, {'a': 2}]\ndef f(): return B", "B = [1, {'a': 3}]\ndef f(): return B", False),
        ("B = 1\nU = 1\ndef f(): return B", "B = 1\nU = 2\ndef f(): return B", True),  # nobody uses U
        ("class C:\n  x = 1\ndef f(): return C", "class C:\n  x = 2\ndef f(): return C", False),
        (
            "class C:\n  def m(self): return 1\ndef f(): return C().m()",
            "class C:\n  def m(self): return 2\ndef f(): return C().m()",
            False,
        ),
        ("def f(x=1): return x", "def f(x=2): return x", False),
        (
            "def o(b):\n  def f(): return b\n  return f\nf = o(1)",
            "def o(b):\n  def f(): return b\n  return f\nf = o(2)",
            False,
        ),
        (
            "import numpy as np\nB = np.arange(3)\ndef f(): return B",
            "import numpy as np\nB = np.ones(3)\ndef f(): return B",
            False,
        ),
        ("def f(x): return x.min()", "def f(x): return x.max()", False),
        ("def f(x): return [y.min() for y in x]", "def f(x): return [y.max() for y in x]", False),
        ("def f(x): return x in {'a', 'b'}", "def f(x): return x in {'b', 'a'}", True),
        (LOSS + "L = Loss(1, 2)\ndef f(): return L", LOSS + "L = Loss(2, 1)\ndef f(): return L", False),
        (LOSS + "L = Loss(1, 2)\ndef f(): return L", LOSS + "L = Loss(1, 2)\ndef f(): return L", True),
        (
            "class C:\n  def m(self): return 1\nc = C()\ndef f(): return c.m()",
            "class C:\n  def m(self): return 2\nc = C()\ndef f(): return c.m()",
            False,
        ),
        ("A, B = 1, 2\ndef f(): return A, B", "A, B = 2, 1\ndef f(): return A, B", False),
        ("A, B = True, False\ndef f(): return A, B", "A, B = False, True\ndef f(): return A, B", False),
        (
            LOSS + "A, B = Loss(1, 2), Loss(2, 1)\ndef f(): return A, B",
            LOSS + "A, B = Loss(2, 1), Loss(1, 2)\ndef f(): return A, B",
            False,
        ),
        (
            "from math import cos as g\ndef f(): return g",
            "from math import sin as g\ndef f(): return g",
            False,
        ),
        ("import math as m\ndef f(): return m.e", "import cmath as m\ndef f(): return m.e", False),
        (
            "from numpy import ndarray\ndef f(x: ndarray): return x",
            "from numpy import ndarray\ndef f(x: ndarray): return x",
            True,
        ),
        *(
            (
                f"{head}\nV = {value.format(1)}\ndef f(): return V",
                f"{head}\nV = {value.format(second)}\ndef f(): return V",
                second == 1,
            )
            for second in (1, 2)
            for head, value in (
                ("", "[lambda: {}]"),
                ("", "dict(a=lambda: {})"),
                (LOSS, "[Loss({}, 2)]"),
                ("from functools import partial", "partial(print, {})"),
                ("from functools import partial\ndef g(): return 1", "partial(g, x={})"),
                ("from functools import cache", "cache(lambda: {})"),
                ("class C:\n  def __init__(self, b): self.b = b\n  def m(self): return self.b", "C({}).m"),
                ("from pathlib import Path", "Path('{}')"),
                ("from fractions import Fraction", "Fraction({})"),
                ("from types import SimpleNamespace", "SimpleNamespace(b={})"),
                ("from collections import deque", "deque([{}])"),
                ("import re", "re.compile('{}')"),
                ("import torch", "torch.tensor([{}.0], dtype=torch.bfloat16)"),
                ("", "range({})"),
                ("import pandas as pd", "pd.Series([{}, 5])"),
                ("import pandas as pd", "pd.DataFrame({{'a': ['x', 'y{}']}})"),
                ("import pandas as pd", "pd.Timestamp(2020, 1, {})"),
                ("import datetime", "datetime.timedelta(days={})"),
                ("import datetime", "[datetime.datetime(2020, 1, {})]"),
                ("import random", "random.Random({})"),
                ("import numpy as np", "np.random.default_rng({})"),
                ("import numpy as np", "np.random.RandomState({})"),
                ("import numpy as np", "np.array(['a', {}], dtype=object)"),
                ("import torch", "torch.Generator().manual_seed({})"),
                (
                    "import torch\nm = torch.nn.Linear(2, 1, bias=False)",
                    "torch.nn.init.constant_(m.weight, {}) is None or m",
                ),
                ("import torch", "torch.nn.Dropout({} / 4)"),
                (
                    "import torch\nclass N(torch.nn.Module): pass\nn = N()",
                    "n.register_buffer('b', torch.ones({})) or n",
                ),
                ("class C:\n  __slots__ = ('b',)\n  def __init__(self, b): self.b = b", "C({})"),
                (
                    "class A:\n  __slots__ = 'a'\nclass C(A):\n  __slots__ = ()\n"
                    "  def __init__(self, a): self.a = a",
                    "C({})",
                ),
                ("import random\nclass R(random.Random): pass", "R({})"),
                ("class L(list): pass", "L([[lambda: {}]])"),
            )
        ),
    ],
)
def test_a_function_of_a_session_is_what_it_uses(monkeypatch, first, second, same):
    told = []
    for text in (first, second):
        module = session(text)
        with monkeypatch.context() as patched:
            patched.setitem(sys.modules, "__main__", module)
            origin = sources.origin_of(module.f)
            assert origin.plugin == "__main__" and origin.files is None
            told.append(origin.digest)
    assert (told[0] == told[1]) is same


@pytest.mark.parametrize(
    ("imported", "used"),
    [
        ("import beside_it", "beside_it.g()"),
        ("from beside_it import g", "g()"),
        ("import between", "between.h()"),
    ],
)
def test_modules_in_the_folder_of_a_session_count_as_they_were_loaded(tmp_path, monkeypatch, imported, used):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "between.py").write_text("import beside_it\ndef h(): return beside_it.g()\n")
    digests = []
    for x, more in ((1, 1), (2, 1), (2, 2)):
        helper = tmp_path / "beside_it.py"
        helper.write_text(f"X = {x}\ndef g(): return X\n")
        module = session(f"{imported}\ndef f(): return {used}")
        helper.write_text(f"X = {more}0\ndef g(): return X\n")  # not loaded any more
        with monkeypatch.context() as patched:
            patched.setitem(sys.modules, "__main__", module)
            digests.append(sources.origin_of(module.f).digest)
        for name in ("beside_it", "between"):
            sys.modules.pop(name, None)
    assert digests[0] != digests[1] == digests[2]


def test_a_function_typed_after_a_script_is_not_the_scripts(tmp_path, monkeypatch):
    """As with `python -i script.py`, or with an editor that runs parts of a file."""
    script = tmp_path / "script.py"
    script.write_text("def g(): return 0\n")
    digests = []
    for value in (1, 2):
        module = session(f"def f(): return {value}")
        module.__file__ = str(script)
        exec(compile(script.read_text(), str(script), "exec"), module.__dict__)
        with monkeypatch.context() as patched:
            patched.setitem(sys.modules, "__main__", module)
            digests.append(sources.origin_of(module.f).digest)
            assert sources.origin_of(module.f).plugin == "__main__"
            assert sources.origin_of(module.g).plugin == "script.py"
    assert digests[0] != digests[1]


def test_a_value_that_a_script_was_given_counts(tmp_path, monkeypatch):
    script = tmp_path / "script.py"
    script.write_text("def f(): return BETA\n")
    digests = []
    for beta in (0.1, 3.0, 0.1):
        module = ModuleType("__main__")
        module.__dict__.update(__file__=str(script), BETA=beta)
        exec(compile(script.read_text(), str(script), "exec"), module.__dict__)
        with monkeypatch.context() as patched:
            patched.setitem(sys.modules, "__main__", module)
            digests.append(sources.origin_of(module.f).digest)
    assert digests[0] == digests[2] != digests[1]


def test_paths_among_options_are_known_by_content(tmp_path):
    file = tmp_path / "words.txt"
    file.write_text("one")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_text("1")
    options = {"path": str(file), "deep": [{"more": str(folder)}], "name": "mean", "n": 3, "none": None}
    first = sources.contents_of(options)
    assert set(first) == {str(file), str(folder)}
    assert sources.contents_of(options) == first
    file.write_text("two")
    (folder / "a").rename(folder / "b")
    second = sources.contents_of(options)
    assert all(second[path] != first[path] for path in first)


@pytest.mark.parametrize("text", ["", "a\nb", "x" * 5000, "\0", "~nobody-here/x", "mean"])
def test_what_is_no_path_has_no_content(text):
    assert sources.contents_of(text) == {}


def test_special_files_are_not_read(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert sources.contents_of([str(tmp_path / name) for name in ("pipe", "zero", "loop")]) == {}
    assert set(sources.contents_of(str(tmp_path))) == {str(tmp_path)}  # a folder of none that can be read


def test_of_a_value_that_cannot_be_told_a_person_is_told_so(monkeypatch):
    module = session("import threading\nLOCK = threading.Lock()\ndef f(): return LOCK")
    monkeypatch.setitem(sys.modules, "__main__", module)
    with pytest.warns(UserWarning, match=r"the content of 'LOCK' \(_thread\.lock\) cannot be told"):
        assert sources.origin_of(module.f).digest


def test_a_notebook_that_uses_libraries_has_the_same_key_in_every_session(tmp_path):
    (tmp_path / "cell.py").write_text(f"CELL = {SESSION!r}\n")
    program = (
        "import sys, types, warnings\nfrom cell import CELL\nfrom prefbench import sources\n"
        "warnings.simplefilter('error')\nmodule = types.ModuleType('__main__')\n"
        "sys.modules['__main__'] = module\nexec(compile(CELL, '<cell>', 'exec'), module.__dict__)\n"
        "sys.stdout.write(sources.origin_of(module.f).digest)\n"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(told) == 1
