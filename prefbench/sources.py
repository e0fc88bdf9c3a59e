"""Digests of source code and of files: what a stored result was made by.

Of prefbench's own packages a result depends on the modules that its code reaches by importing, read from
the text of the sources (`closure`). Of a stranger's code it depends on all of it: the whole package, or
the file and what it imports from its own folder. A function that was typed into a notebook has no file; there
the source of the function and of everything that it uses of its session counts (`CodeOrigin`).
"""

from __future__ import annotations

import copyreg
import dataclasses
import functools
import hashlib
import importlib.util
import inspect
import itertools
import re
import sys
import types
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from numbers import Number
from pathlib import Path, PurePath
from typing import Any

OWN = "prefbench"
"""The distribution whose packages are followed import by import."""

_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<module>[\w.]+)[ \t]+import[ \t]+(?P<names>\([^)]*\)|[^\n]+)"
    r"|import[ \t]+(?P<modules>[\w., \t]+))",
    re.MULTILINE,
)
_TYPING = re.compile(r"^if TYPE_CHECKING:\n(?:[ \t]+[^\n]*\n|\n)+", re.MULTILINE)
_FACE = re.compile(r"\bpb\.(\w+)")


# ------------------------------------------------------------------------------ prefbench's own modules


@functools.cache
def own_packages() -> Mapping[str, Path]:
    """Top-level packages of prefbench's distribution and their folders."""
    found = {OWN: Path(__file__).parent}
    for point in entry_points(group=OWN):
        package = point.module.partition(".")[0]
        if point.dist is not None and point.dist.name == OWN and package not in found:
            module = sys.modules.get(package)
            spec = importlib.util.find_spec(package) if module is None else module.__spec__
            if spec is not None and spec.origin is not None:
                found[package] = Path(spec.origin).parent
    return found


def is_own(module: str) -> bool:
    """True if a dotted name lies in a package of prefbench's distribution."""
    return module.partition(".")[0] in own_packages()


@functools.cache
def closure(roots: frozenset[str], without: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Own modules that `roots` reach by importing, at whatever depth and wherever the import stands.

    Args:
        roots: dotted names.
        without: modules, and packages with all that is in them, that are neither entered nor returned.

    Returns:
        Dotted names, sorted. Imports for type checking only do not count.
    """
    found: set[str] = set()
    waiting = sorted(roots)
    while waiting:
        name = waiting.pop()
        if name in found or _is_within(name, without):
            continue
        found.add(name)
        waiting.extend(_imported(name))
    return tuple(sorted(found))


def _is_within(name: str, packages: Iterable[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@functools.cache
def _imported(name: str) -> tuple[str, ...]:
    """Own modules that one module names in its imports, or uses by the face."""
    text = _TYPING.sub("", _text(name))
    found: list[str] = []
    for match in _IMPORT.finditer(text):
        if match["module"] is None:
            found.extend(part.split()[0] for part in match["modules"].split(",") if part.strip())
            continue
        names = re.findall(r"(\w+)(?:[ \t]+as[ \t]+\w+)?", match["names"].partition("#")[0])
        if match["module"] == OWN:
            found.extend(_behind_face(names))
        found.extend(f"{match['module']}.{member}" for member in names)
        found.append(match["module"])
    if re.search(r"^import prefbench as pb$", text, re.MULTILINE):
        found.extend(_behind_face(_FACE.findall(text)))
    return tuple(dict.fromkeys(module for module in found if module != OWN and _file(module) is not None))


def _behind_face(names: Iterable[str]) -> list[str]:
    """Modules in which names of the public face are defined."""
    wanted = set(names)
    homes: Mapping[str, Iterable[str]] = sys.modules[OWN].HOMES
    return [module for module, members in homes.items() if wanted.intersection(members)]


@functools.cache
def _file(name: str) -> Path | None:
    """The source file of a dotted name; None where it is no module of an own package."""
    package, *rest = name.split(".")
    folder = own_packages().get(package)
    if folder is None:
        return None
    path = folder.joinpath(*rest)
    found = [p for p in (path / "__init__.py", path.with_name(f"{path.name}.py")) if p.is_file()]
    return found[0] if found else None


@functools.cache
def _text(name: str) -> str:
    path = _file(name)
    return "" if path is None else path.read_text(encoding="utf-8")


@functools.cache
def digest_of(modules: tuple[str, ...]) -> str:
    """SHA-256 of the names and texts of own modules, in their order."""
    state = hashlib.sha256()
    for name in modules:
        state.update(f"{name}\0{hashlib.sha256(_text(name).encode()).hexdigest()}\n".encode())
    return state.hexdigest()


# --------------------------------------------------------------------------------------- plug-ins


@dataclass(frozen=True)
class CodeOrigin:
    """The place that a registered function comes from."""

    function: Callable[..., Any]
    plugin: str | None
    """Package, file or `__main__`; None for prefbench's own."""
    files: str | None
    """Digest of the plug-in's files as they were when it was registered; None where there is no file."""

    @property
    def module(self) -> str:
        """Dotted name of the module that defines it."""
        return str(inspect.unwrap(self.function).__module__)

    @property
    def digest(self) -> str | None:
        """Digest of the plug-in and of this function in it; None for prefbench's own."""
        if self.plugin is None:
            return None
        function = inspect.unwrap(self.function)
        # A script has a file, and values that its file does not tell: arguments, say.
        session = sorted(set(_session(function))) if self.module == "__main__" or self.files is None else []
        return _sha(session if self.files is None else [self.files, *_variant(function), *session])


def origin_of(function: Callable[..., Any]) -> CodeOrigin:
    """The origin of a function, its plug-in's files read now."""
    plain = inspect.unwrap(function)
    package = plain.__module__.partition(".")[0]
    if is_own(plain.__module__):
        return CodeOrigin(function, None, None)
    module = sys.modules.get(package)
    file = getattr(module, "__file__", None)
    if file is None or not Path(file).is_file() or _is_typed(plain):
        return CodeOrigin(function, package, None)
    path = Path(file)
    if path.name == "__init__.py":
        return CodeOrigin(function, package, _files_digest(path.parent.rglob("*.py"), path.parent))
    # `--plugin` makes up a module name, and a script is `__main__`: the file's name says more.
    return CodeOrigin(function, path.name, _files_digest(_beside(path), path.parent))


def _is_typed(function: Any) -> bool:
    """True if a function was typed into a session; one may begin with a file, as `python -i` does."""
    code = getattr(function, "__code__", None)
    return function.__module__ == "__main__" and code is not None and not Path(code.co_filename).is_file()


def _files_digest(files: Iterable[Path], folder: Path) -> str:
    """Digest of the names below a folder and of their contents."""
    return _sha(f"{path.relative_to(folder).as_posix()}\0{file_digest(path)}" for path in sorted(files))


def _beside(path: Path) -> set[Path]:
    """A file and the modules of its own folder that it imports, and those that they import.

    A folder that is imported counts whole, with or without an `__init__.py`.
    """
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found.add(file)
        for match in _IMPORT.finditer(file.read_text(encoding="utf-8", errors="replace")):
            named = match["module"] or match["modules"]
            for name in re.findall(r"[\w.]+", named):
                first = path.parent / name.strip(".").partition(".")[0]
                if first.with_name(f"{first.name}.py").is_file():
                    waiting.append(first.with_name(f"{first.name}.py"))
                if first.is_dir():
                    waiting.extend(sorted(first.rglob("*.py")))
    return found


def _variant(function: Callable[..., Any]) -> Iterator[str]:
    """The difference between two functions of one file: place in it, defaults and enclosed values."""
    code = getattr(function, "__code__", None)
    yield f"{function.__qualname__}:{getattr(code, 'co_firstlineno', 0)}"
    for value in _bound(function):
        if isinstance(value, types.FunctionType) and value is not function:
            yield from _variant(value)
        yield from _plain(value)


def _bound(function: Any) -> Iterator[Any]:
    """Defaults and closed-over values of a function."""
    yield from getattr(function, "__defaults__", None) or ()
    yield from (getattr(function, "__kwdefaults__", None) or {}).values()
    for cell in getattr(function, "__closure__", None) or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not filled yet
            continue


def _session(start: Any) -> Iterator[str]:
    """Sources of a function of an interactive session and of whatever it uses of that session.

    Values are told under the names that lead to them: two that change places are another session.
    """
    home = start.__module__
    known: dict[int, Any] = {}  # kept, as the number of an object that is gone may become another's
    waiting: list[tuple[str, Any]] = [("", start)]
    while waiting:
        name, value = waiting.pop()
        told = list(_plain(value))
        yield from (f"{name}={text}" for text in (_named(value), *told))
        if id(value) in known:
            continue
        known[id(value)] = value
        if isinstance(value, types.FunctionType) and _is_session(value.__module__, home):
            # Of an imported function what is loaded counts: its file may have been edited since.
            yield _source(value) if value.__module__ == home else _code_digest(value.__code__)
            waiting.extend((f"{name}.{index}", part) for index, part in enumerate(_bound(value)))
            waiting.extend(
                (n, value.__globals__[n]) for n in sorted(_names(value.__code__)) if n in value.__globals__
            )
            waiting.extend((name, kind) for kind in value.__annotations__.values())
        elif isinstance(value, types.ModuleType) and _is_session(value.__name__, home):
            inside = {n: part for n, part in vars(value).items() if not n.startswith("__")}
            waiting.extend((f"{value.__name__}.{n}", part) for n, part in inside.items())
        elif isinstance(value, type) and _is_session(value.__module__, home):
            yield f"{value.__qualname__}({', '.join(base.__qualname__ for base in value.__bases__)})"
            waiting.extend((name, base) for base in value.__bases__)
            for inner, member in sorted(vars(value).items()):
                if inner not in _OF_CLASSES and not inner.startswith("__pydantic_"):
                    method = getattr(member, "__func__", getattr(member, "fget", member))
                    waiting.append((f"{value.__qualname__}.{inner}", method))
            if hasattr(value, "model_fields"):
                yield repr(sorted((k, repr(f)) for k, f in value.model_fields.items()))
        elif _holds_settings(value, home):
            waiting.append((name, type(value)))
            waiting.extend((f"{name}.{inner}", member) for inner, member in _attributes(value).items())
            waiting.extend((f"{name}.{inner}", part) for inner, part in _state(value, name))
        else:
            parts = list(_parts(value))
            if not told and not parts and not isinstance(value, _NAMED | Mapping | deque):
                parts = list(_state(value, name))
            waiting.extend((f"{name}.{inner}", part) for inner, part in parts)


_OF_CLASSES = {"__dict__", "__weakref__", "__module__", "__doc__", "_abc_impl", "__signature__"}
"""Names that Python itself keeps in a class."""
_NAMED = (
    type
    | types.ModuleType
    | types.FunctionType
    | types.BuiltinFunctionType
    | types.MethodWrapperType
    | types.WrapperDescriptorType
    | types.MethodDescriptorType
    | types.GetSetDescriptorType
    | types.MemberDescriptorType
    | types.ClassMethodDescriptorType
)
"""Kinds of things that are what their names say."""


def _state(value: Any, name: str) -> Iterator[tuple[Any, Any]]:
    """The state of an object of any kind, one level deep, as it would be taken apart to be stored.

    So pandas' and torch's objects, random generators and times are known by their content. Of what cannot be
    taken apart, such as a lock or an open file, a person is told that its content does not count.
    """
    take = copyreg.dispatch_table.get(type(value))
    try:
        taken = take(value) if take is not None else value.__reduce_ex__(2)
    except Exception:  # a stranger's class may raise anything
        get_state = getattr(value, "get_state", None)  # of torch's generators
        if callable(get_state):
            yield "state", get_state()
            return
        warnings.warn(
            f"the content of '{name}' ({_named(value)}) cannot be told: a change of it runs nothing anew",
            stacklevel=2,
        )
        return
    if isinstance(taken, tuple):  # else it is the name of something that a module has
        for index, part in enumerate(taken):
            yield index, list(part) if index > 2 and part is not None else part


def _is_session(module: str, home: str) -> bool:
    """True if a module is the session's own, or a file of the folder that it works in."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if module == home or file is None or is_own(module):
        return module == home
    path = Path(file).absolute()
    return path.is_relative_to(Path.cwd()) and "site-packages" not in path.parts


def _named(value: Any) -> str:
    """The name that a module, class or function was defined under, or that of a value's class."""
    if isinstance(value, types.ModuleType):
        return value.__name__
    kind = value if hasattr(value, "__qualname__") else type(value)
    return f"{getattr(kind, '__module__', '')}.{kind.__qualname__}"


def _parts(value: Any) -> Iterable[tuple[Any, Any]]:
    """Values that a container, a partial function, a bound method or a wrapper is made of."""
    if isinstance(value, Mapping):
        return value.items()
    if isinstance(value, list | tuple | deque):
        return enumerate(value)
    if isinstance(value, types.SimpleNamespace):
        return vars(value).items()
    if isinstance(value, functools.partial):
        return enumerate((value.func, value.args, value.keywords))
    if isinstance(value, types.MethodType):
        return enumerate((value.__func__, value.__self__))
    return enumerate([value.__wrapped__] if hasattr(value, "__wrapped__") else [])


def _holds_settings(value: Any, home: str) -> bool:
    """True if the attributes of an object are all that there is to it, as far as anybody can tell."""
    kind = type(value)
    if isinstance(value, type) or isinstance(value, types.FunctionType):
        return False
    return kind.__module__ == home or dataclasses.is_dataclass(kind) or hasattr(kind, "model_fields")


def _attributes(value: Any) -> dict[str, Any]:
    """The attributes that an object keeps, in its dictionary and in slots."""
    named = itertools.chain.from_iterable(
        [slots] if isinstance(slots := vars(kind).get("__slots__", ()), str) else slots
        for kind in type(value).__mro__
    )
    held = {name: getattr(value, name) for name in named if hasattr(value, name)}
    return held | dict(getattr(value, "__dict__", {}))


def _names(code: types.CodeType) -> set[str]:
    """Names that a function looks up, in itself and in what is defined within it."""
    inner = [const for const in code.co_consts if isinstance(const, types.CodeType)]
    return set(code.co_names).union(*map(_names, inner))


def _source(function: types.FunctionType) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return _code_digest(function.__code__)


def _code_digest(code: types.CodeType) -> str:
    """Digest of what a function does, where its text is not known."""
    constants = (
        _code_digest(const) if isinstance(const, types.CodeType) else _sha(_plain(const))
        for const in code.co_consts
    )
    return _sha([code.co_code.hex(), repr(code.co_names), *constants])


def _plain(value: Any) -> Iterator[str]:
    """A value as text where its text is all that there is to it; nothing of any other kind of value."""
    if value is None or isinstance(value, str | bytes | Number | range | slice | PurePath | re.Pattern):
        yield repr(value)
    elif isinstance(value, list | tuple):
        yield f"{type(value).__name__}:{len(value)}"
        for index, item in enumerate(value):
            yield from (f"{index}:{text}" for text in _plain(item))
    elif isinstance(value, set | frozenset):
        yield repr(sorted(map(repr, value)))
    elif isinstance(value, Mapping):
        for key in sorted(value, key=repr):
            yield from (f"{key!r}:{text}" for text in _plain(value[key]))
    elif "torch" in sys.modules and isinstance(value, sys.modules["torch"].Tensor):
        yield from (f"{value.dtype}:{text}" for text in _plain(value.detach().cpu().double().numpy()))
    elif getattr(getattr(value, "dtype", None), "hasobject", False) and hasattr(value, "tolist"):
        yield from _plain(value.tolist())  # its bytes are places in the memory
    elif hasattr(value, "tobytes") and hasattr(value, "shape") and not isinstance(value, type):
        yield f"array:{value.shape}:{hashlib.sha256(value.tobytes()).hexdigest()}"


# ------------------------------------------------------------------------------ files and folders


def contents_of(options: Any) -> dict[str, str]:
    """Paths among options, at any depth, with the SHA-256 of what lies there now.

    Every text that names an existing file or folder counts as a path. Folders are read without links
    that lead out of them.
    """
    if isinstance(options, Mapping):
        return {k: v for value in options.values() for k, v in contents_of(value).items()}
    if isinstance(options, list | tuple):
        return {k: v for value in options for k, v in contents_of(value).items()}
    if not isinstance(options, str) or not options or "\n" in options or len(options) > 4096:
        return {}
    digest = path_digest(Path(options))
    return {} if digest is None else {options: digest}


def path_digest(path: Path, most: int | None = None) -> str | None:
    """SHA-256 of a regular file, or of a folder's names and files; None where there is neither.

    With `most` also None of a folder that holds more files than that.
    """
    try:
        path = path.expanduser()
        if path.is_file():
            return file_digest(path)
        if not path.is_dir():
            return None
        wanted = None if most is None else most + 1
        files = list(itertools.islice((p for p in path.rglob("*") if p.is_file()), wanted))
        return None if most is not None and len(files) > most else _files_digest(files, path)
    except (OSError, ValueError, RuntimeError):  # a text that no path can be, or a home that nobody has
        return None


def file_digest(path: Path) -> str:
    """SHA-256 of a file; what was read before is read again only if the file has changed since."""
    status = path.stat()
    signature = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return _read_digest(path, signature)


@functools.cache
def _read_digest(path: Path, signature: tuple[int, ...]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sha(parts: Iterable[str]) -> str:
    state = hashlib.sha256()
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass")
        state.update(len(raw).to_bytes(8, "little") + raw)
    return state.hexdigest()
