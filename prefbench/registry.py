"""Tasks, aligners, models and kinds of policies, registered by decorator and found by one entry point.

A built-in, an installed third-party package and a single file given by `--plugin` all enter here:
importing the module runs its decorators. Importing must stay cheap (no torch at the top of a
plug-in), since `prefbench list` imports every one of them.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, create_model

from prefbench import sources
from prefbench.errors import UserError, nearest, says_no_memory
from prefbench.file_plugins import forgotten, is_here, load_module
from prefbench.population import Population, parted
from prefbench.search import Distribution, Search, merged
from prefbench.work import Recipe

EntryKind = Literal["task", "aligner", "model", "policy"]
Role = Literal["floor", "ceiling", "outside"]
"""Role of what is no learner among others. A floor shows what a measure lets pass without learning; a ceiling
is told the true utilities and made the most of them, which is a bound where it is exact alone; what learned
outside of prefbench did so from labels that nobody here knows."""
NEEDS = frozenset({"user_id", "group", "instruction", "oracle", "side", "votes"})
"""Fields that an aligner may be shown in training; few tasks have `side`, further numbers of a pair, or an
`instruction` of each group, and `votes`, which labels are of one pair, only where several people label it."""
SEES = frozenset({"pairs", "user_id", "group", "instruction"})
"""Fields of a `Context` that a personal policy may be told."""
BACKBONES = {"causal_lm": "nano", "finite": "finite"}
"""Backbones that are trained, each with the model that a task for it runs on by default."""
GROUP = "prefbench"


class Options(BaseModel):
    """Base of every option set: frozen, typed, unknown names refused, field docstrings as help."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    former: ClassVar[Mapping[str, str]] = {}
    """Names that options had in older versions, and today's: errors suggest them, old records are read so."""
    former_defaults: ClassVar[Mapping[str, tuple[Any, int]]] = {}
    """Defaults that options had, each up to these numerics: in such records they are nobody's choice."""
    search: ClassVar[Search] = {}
    """Options that `prefbench tune` searches, and what they are drawn from; classes inherit them."""
    strength: ClassVar[str | None] = None
    """The option that says how closely the policy is held to the reference, larger being closer: a KL
    coefficient or a beta; None where there is none."""
    ladder: ClassVar[tuple[str, tuple[float, ...]] | None] = None
    """The option that a sweep over strengths goes up where the policy needs no training, and its values, such
    as the n of best-of-n; None where there is none."""
    unwritten: ClassVar[frozenset[str]] = frozenset()
    """Options that are written into a specification only where they are not at their defaults."""

    def most_kl(self) -> float | None:
        """Bound on the policy's divergence from the reference that these options alone give, nats a response.

        None where there is none.
        """
        return None

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse a class that searches what it does not have.

        Raises:
            UserError: a name in `search`, `strength` or `ladder` is no option of it.
        """
        for name in (*cls.search, *filter(None, [axis_of(cls)])):
            if name not in cls.model_fields:
                raise UserError(
                    f"{cls.__name__} searches '{name}', which is no option of it."
                    f"{suggest(name, cls.model_fields)}"
                )


def axis_of(options: type[BaseModel]) -> str | None:
    """The option whose values make a curve of an aligner: its strength, or what a ladder goes up."""
    strength: str | None = getattr(options, "strength", None)
    ladder = getattr(options, "ladder", None)
    return strength if ladder is None else str(ladder[0])


class NoOptions(Options):
    """Options of an entry that has nothing to set."""


@dataclass(frozen=True)
class Entry:
    """One registered task, aligner, model or kind of policies."""

    kind: EntryKind
    name: str
    function: Callable[..., Any]
    options: type[BaseModel]
    version: int = 1
    needs: frozenset[str] = frozenset()
    """Fields that an aligner may see beyond prompt, chosen and rejected."""
    sees: frozenset[str] = frozenset()
    """Fields of a `Context` that its policy is told at deployment; empty of one policy for everybody."""
    provides: frozenset[str] = frozenset()
    """Fields of `needs` that a task can show."""
    own_data: bool = True
    """True if a task writes data of its own where none are named."""
    backbones: frozenset[str] = frozenset(BACKBONES)
    """Backbones that an aligner runs on; the one that a task is for or that a model is."""
    role: Role | None = None
    """Role of an aligner, floor or ceiling beside others; None of one that learns; outside of policies."""
    work: Callable[[Recipe], None] | None = None
    """Declaration of what an aligner will compute; None of one that has none."""
    place: int | None = None
    """Place among aligners that a crowded figure starts with, or among tasks for an example, from 1; None
    of all others."""

    origin: sources.CodeOrigin = field(init=False, repr=False, compare=False)
    """Origin of its function."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "origin", sources.origin_of(self.function))

    @property
    def backbone(self) -> str:
        """The only one of `backbones`, for a task or a model."""
        (only,) = self.backbones
        return only

    @property
    def doc(self) -> str:
        """The whole docstring."""
        return inspect.getdoc(self.function) or ""

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return self.doc.partition("\n")[0]


_entries: dict[tuple[EntryKind, str], Entry] = {}
_loaded: dict[str, str | None] = {}  # plug-in -> why it failed, or None


def _register(entry: Entry) -> None:
    if ":" in entry.name:
        raise UserError(f"{entry.kind} '{entry.name}': before a colon stands a kind of policies: rename it.")
    if entry.function.__module__ == "__main__":  # typed by a person, who is told now of a taken name
        load_plugins()
    known = _entries.get((entry.kind, entry.name))
    if known is not None and known.function.__module__ != entry.function.__module__:
        raise UserError(
            f"{entry.kind} '{entry.name}' is defined by both {known.function.__module__} and "
            f"{entry.function.__module__}: rename one of them."
        )
    _entries[(entry.kind, entry.name)] = entry


def task(
    name: str,
    *,
    version: int = 1,
    provides: Iterable[str] = NEEDS - {"side", "instruction", "votes"},
    backbone: str = "causal_lm",
    own_data: bool = True,
    place: int | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function `(data, minority_ratio, seed, *, options...) -> Problem` as a task.

    Its typed keyword-only arguments are its options; where several tasks share many, it may take a fourth
    argument `options`, annotated with a subclass of `Options`, instead. Bump `version` with any change that
    can move a number: the leaderboard's key is `task@version`. `backbone` says what it is for: language
    models, or `finite` where its `Problem` has a `World`. `own_data` is false of one that only reads what
    `--data` names. `place` is for the few that examples are made of.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        hints = _hints(function)
        options, call = hints.get("options"), function
        if isinstance(options, type) and issubclass(options, BaseModel):
            call = _with_options(function, options)
        else:
            fields: dict[str, Any] = {
                parameter.name: (
                    hints[parameter.name],
                    ... if parameter.default is inspect.Parameter.empty else parameter.default,
                )
                for parameter in inspect.signature(function).parameters.values()
                if parameter.kind is inspect.Parameter.KEYWORD_ONLY
            }
            options = create_model(f"{name}_options", __base__=Options, **fields)
        shows = _checked_needs(name, provides)
        on = _checked_backbones(name, {backbone})
        call, options = _of_people(call, options)
        _register(
            Entry(
                "task",
                name,
                call,
                options,
                version=version,
                provides=shows,
                own_data=own_data,
                backbones=on,
                place=place,
            )
        )
        return function

    return register


def _with_options(function: Callable[..., Any], options: type[BaseModel]) -> Callable[..., Any]:
    """A task that takes its options as one object, to be called like those that name each."""

    @functools.wraps(function)
    def call(data: str, minority_ratio: float, seed: int, **given: Any) -> Any:
        return function(data, minority_ratio, seed, options(**given))

    return call


def _of_people(
    function: Callable[..., Any], options: type[BaseModel]
) -> tuple[Callable[..., Any], type[BaseModel]]:
    """A task and its options with those of every task's population."""
    taken = sorted(options.model_fields.keys() & Population.model_fields.keys())
    if taken:
        raise UserError(f"option '{taken[0]}' of {function.__name__} is one that every task has: rename it.")
    fields: dict[str, Any] = {name: (each.annotation, each) for name, each in Population.model_fields.items()}
    whole = create_model(options.__name__, __base__=options, __module__=options.__module__, **fields)
    unwritten = frozenset({*fields, *getattr(options, "unwritten", ())})
    whole.unwritten = unwritten  # type: ignore[attr-defined]

    @functools.wraps(function)
    def call(data: str, minority_ratio: float, seed: int, **given: Any) -> Any:
        own, population = parted(given)
        problem = function(data, minority_ratio, seed, **own)
        return problem if population == Population() else replace(problem, population=population)

    return call, whole


def aligner(
    name: str,
    *,
    needs: Iterable[str] = (),
    sees: Iterable[str] = (),
    backbones: Iterable[str] = BACKBONES,
    role: Role | None = None,
    work: Callable[[Recipe], None] | None = None,
    place: int | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function `(view, backbone, options: SomeOptions) -> Policy | Personal` as an aligner.

    `needs` names what it is shown in training beyond the pairs; `sees` what its policy is told of a person
    at deployment, of `pairs`, `user_id`, `group` and `instruction`, where it returns a `Personal`.
    `backbones` names those it applies to, where these are not all. `role` says that it learns nothing: a
    `floor` such as the reference policy, or a `ceiling` that optimises the true utilities. `work` says what
    it will compute on a language model, so that its memory and its time are known before (`prefbench.work`).
    `place` is for the few that are shown first.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        options = _hints(function).get("options")
        if not (isinstance(options, type) and issubclass(options, BaseModel)):
            raise UserError(
                f"aligner '{name}': annotate its third argument, `options`, with a subclass of "
                "prefbench.Options (NoOptions if it has none)."
            )
        shown, on = _checked_needs(name, needs), _checked_backbones(name, backbones)
        unknown = set(sees) - SEES
        if unknown:
            raise UserError(
                f"'{name}' sees {sorted(unknown)}; what can be seen is {sorted(SEES)}: name some of these."
            )
        _register(
            Entry(
                "aligner",
                name,
                function,
                options,
                needs=shown,
                sees=frozenset(sees),
                backbones=on,
                role=role,
                work=work,
                place=place,
            )
        )
        return function

    return register


def model(name: str, *, backbone: str = "causal_lm") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function `(request, options: SomeOptions) -> Backbone` as a model preset."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        options = _hints(function)["options"]
        _register(Entry("model", name, function, options, backbones=_checked_backbones(name, {backbone})))
        return function

    return register


def policy(
    name: str, *, backbones: Iterable[str] = ("causal_lm",)
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function `(request, options: SomeOptions) -> Policy | Outside` as a kind of policies.

    `--policy NAME:SOURCE` then takes the place of an aligner; see `prefbench.backbone.outside.interface`.
    `backbones` names those whose tasks its policies can answer.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        options, on = _hints(function)["options"], _checked_backbones(name, backbones)
        _register(Entry("policy", name, function, options, backbones=on, role="outside"))
        return function

    return register


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise UserError(
            f"{function.__module__}.{function.__name__}: an annotation names {error.name}, which is not "
            "imported at run time; import it outside `if TYPE_CHECKING:`."
        ) from None


def _checked_needs(name: str, needs: Iterable[str]) -> frozenset[str]:
    unknown = set(needs) - NEEDS
    if unknown:
        raise UserError(
            f"'{name}' names {sorted(unknown)}; what can be needed is {sorted(NEEDS)}: name some of these."
        )
    return frozenset(needs)


def _checked_backbones(name: str, backbones: Iterable[str]) -> frozenset[str]:
    unknown = set(backbones) - BACKBONES.keys()
    if unknown:
        raise UserError(
            f"'{name}' names backbone {sorted(unknown)}; there are {sorted(BACKBONES)}: name one of these."
        )
    return frozenset(backbones)


@contextlib.contextmanager
def lent() -> Iterator[None]:
    """Registrations within it are forgotten at its end."""
    known = dict(_entries)
    try:
        yield
    finally:
        _entries.clear()
        _entries.update(known)


def load_plugins(files: Iterable[str] = ()) -> dict[str, str]:
    """Import every installed plug-in and the given files; return what failed, and why.

    A broken installed plug-in is left out and named in the result; a broken `--plugin` file was
    asked for by name, so it raises `UserError`.
    """
    for point in entry_points(group=GROUP):
        key = f"{point.name} ({point.value})"
        if key not in _loaded:
            try:
                point.load()
                _loaded[key] = None
            except (Exception, SystemExit) as error:  # a stranger's module may raise anything
                if says_no_memory(error):  # which is no fault of the module's
                    raise
                _loaded[key] = f"{type(error).__name__}: {error}".replace("\n", " ")
    for file in files:
        load_module(file)
    return {name: reason for name, reason in _loaded.items() if reason is not None}


def entries(kind: EntryKind) -> list[Entry]:
    """Every registered entry of a kind, by name. Call `load_plugins` first."""
    return sorted((e for (k, _), e in _entries.items() if k == kind), key=lambda e: e.name)


def search_space(options: type[BaseModel], backbone: str) -> dict[str, Distribution]:
    """Options that are searched on a backbone, in the order in which the options are declared.

    A class adds to what the classes that it inherits from declare, and overrides it.
    """
    declared = _declared(options)
    return {
        name: declared[name]
        for name in options.model_fields
        if name in declared and backbone in (declared[name].backbones or BACKBONES)
    }


def plays_a_part(options: type[BaseModel], name: str, backbone: str) -> bool:
    """True where an option plays a part on a backbone, as far as its declaration for searches says."""
    declared = _declared(options).get(name)
    return declared is None or backbone in (declared.backbones or BACKBONES)


def _declared(options: type[BaseModel]) -> dict[str, Distribution]:
    return merged(vars(kind).get("search", {}) for kind in reversed(options.__mro__))


def placed(kind: EntryKind, *roles: Role | None) -> list[Entry]:
    """The tasks or aligners that are shown first, in their order: of these roles, or of any."""
    load_plugins()
    found = [e for e in entries(kind) if e.place is not None and (not roles or e.role in roles)]
    return sorted(found, key=lambda e: (e.place, e.name))


def role_of(aligner: str, needs: Collection[str]) -> Role | None:
    """The role that an aligner declares.

    One that is not registered here, as in records of other people's, declares nothing: it counts as a ceiling
    if it was told the true utilities.
    """
    if ":" in aligner:
        return "outside"
    if ("aligner", aligner) not in _entries:
        load_plugins()  # looks through every installed package, so not for each row of a board
    found = find("aligner", aligner)
    if found is not None:
        return found.role
    return "ceiling" if "oracle" in needs else None


def find(kind: EntryKind, name: str) -> Entry | None:
    """The entry called `name`, None if there is none; of a policy in an aligner's place that of its kind."""
    if kind == "aligner" and ":" in name:
        kind, name = "policy", name.partition(":")[0]
    return _entries.get((kind, name))


def get(kind: EntryKind, name: str) -> Entry:
    """The entry called `name`, or a `UserError` that names the nearest one."""
    found = find(kind, name)
    if found is not None:
        return found
    if kind == "aligner" and ":" in name:
        kind, name = "policy", name.partition(":")[0]
    known = [entry.name for entry in entries(kind)]
    failed = [f"{plugin}: {reason}" for plugin, reason in _loaded.items() if reason is not None]
    blame = f" (a plug-in failed to import: {'; '.join(failed)})" if failed else ""
    what = "kind of policies" if kind == "policy" else kind
    raise UserError(f"unknown {what} '{name}'.{suggest_entry(name, known)}{blame}")


def name_of(kind: EntryKind, given: Any) -> str:
    """The name under which something is registered: a name itself, or the function that was decorated.

    Raises:
        UserError: it is neither, or another function has taken the name since.
    """
    if isinstance(given, str):
        return given
    for entry in entries(kind):
        if inspect.unwrap(entry.function) is inspect.unwrap(given):
            return entry.name
    called = getattr(given, "__name__", None)
    if called is None:
        raise UserError(
            f"{kind} {given!r} is neither a name nor a function that @{kind} has registered"
            ": decorate it, or give a name."
        )
    raise UserError(
        f"{kind} function '{called}' is not registered, or another has its name by now: decorate it with "
        f"@prefbench.{kind}(NAME), or give a name."
    )


def suggest(name: str, known: Iterable[str]) -> str:
    """' Did you mean ...?' when something is near, else the list of what there is."""
    known = list(known)
    near = [f"'{each}'" for each in nearest(name, known)]
    if near:
        return f" Did you mean {' or '.join(filter(None, [', '.join(near[:-1]), near[-1]]))}?"
    return f" Known: {', '.join(known) or 'none'}."


def suggest_entry(name: str, known: Iterable[str]) -> str:
    """`suggest` for names that a plug-in may define, asking for its file if nothing is near or it is here."""
    said, here = suggest(name, known := list(known)), is_here(name)
    near = "Known: " not in said
    if not near and len(known) > 20:  # more than a line holds
        said = " `prefbench list aligners`, or tasks, models or policies, lists what there is."
    return ("" if here and not near else said) + forgotten(name, sure=near)
