"""Figures of everything that can move a result, small enough to compute in a minute.

`SECTIONS` names functions that each compute some figures; `test_numerics.py` holds them against stored ones.
Language models run in float64, so that another processor differs by far less than the smallest change that
matters. Nothing here hangs on a tie: what is drawn or decided is decided by a wide margin.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin
from unittest import mock

import numpy as np
import pandas as pd
import torch

from prefbench import registry, seeds
from prefbench.backbone.language import adapters, training
from prefbench.backbone.language.backbone import CausalLM
from prefbench.backbone.language.build import fit_language_model
from prefbench.backbone.language.codec import Codec
from prefbench.backbone.language.nano import new_gpt2
from prefbench.backbone.language.networks import Pooling
from prefbench.backbone.language.sampling import sample_tokens
from prefbench.backbone.options import NanoOptions
from prefbench.errors import UserError
from prefbench.evaluate import regret, theory
from prefbench.learn import em, pairwise
from prefbench.learn import options as learning
from prefbench.learn import rewards as bradley_terry
from prefbench.learn import welfare as welfares
from prefbench.learn.interface import Aligned, Pairs, PairwiseLoss, Policy, Rewards
from prefbench.problem.labels import given_pairs, label_pairs
from prefbench.problem.problem import Group, Problem, Prompts
from prefbench.problem.utilities import combined as of_others
from prefbench.problem.utilities import content, readability, sentiment
from prefbench.problem.view import make_view
from prefbench.record.summary import summarise, summarise_prompted
from prefbench.running.labels import labels_of
from prefbench.spec import make_spec
from prefbench.stats import comparisons, intervals, power
from prefbench.store.stages import Store, Work
from prefbench.text import text_digest
from support.tiny import SENTENCES, tiny_model, tiny_tokenizer

registry.load_plugins()

Figures = dict[str, Any]
"""Names to numbers, texts or lists of them."""
DATA = Path(__file__).parents[1] / "data"

EXACT, DESCENT = 1e-9, 1e-7
"""Relative tolerances: of what has an exact answer, and of training in float64."""
CLOSE = 1e-2
"""What a solver's answer may be from the exact one, which replaces it."""

SMALL = {
    "annotators": 8,
    "pairs_per_annotator": 6,
    "test_prompts": 20,
    "response_tokens": 8,
    "synthetic_size": 600,
    "gold_annotators": 4,
    "states": 5,
    "horizon": 3,
}
"""Of every task that has the option."""
FEW = {
    "iterations": 2,
    "batch": 12,
    "minibatches": 2,
    "epochs": 1,
    "reward_epochs": 1,
    "reward_group_epochs": 1,
    "reward_batch": 12,
    "em_iterations": 2,
    # Two starts that end in the same clusters under other numbers tie, and rounding would choose.
    "em_restarts": 0,
    "mpo_steps": 2,
    "mpo_batch": 8,
    "regret_prompts": 8,
}
"""Of every aligner that has the option."""
ELSEWHERE = {"label_smoothing": 0.1, "select_clusters": 2, "kl_target": 0.05, "discount": 0.9}
"""Options with a value at which something else is computed; those with a list of values are found."""


@dataclass(frozen=True)
class Section:
    """Some figures and how far they may be from the stored ones, relatively and, near zero, absolutely."""

    compute: Callable[[Path], Figures]
    """Takes an empty folder."""
    tolerance: float


SECTIONS: dict[str, Section] = {}


def compute(name: str) -> Figures:
    """The figures of a section, from nothing: no stage of an earlier call is served."""
    with tempfile.TemporaryDirectory() as folder, float64(), solved():
        return {key: _plain(value) for key, value in SECTIONS[name].compute(Path(folder)).items()}


def _plain(value: Any) -> Any:
    """As JSON would give it back, numbers to twelve digits."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.12g}") if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return value


def section(name: str, tolerance: float) -> Callable[[Callable[[Path], Figures]], Callable[..., Figures]]:
    """Register a function as a section."""

    def registered(function: Callable[[Path], Figures]) -> Callable[[Path], Figures]:
        SECTIONS[name] = Section(function, tolerance)
        return function

    return registered


def entries(kind: registry.EntryKind) -> list[registry.Entry]:
    """Everything that prefbench itself registers."""
    return [entry for entry in registry.entries(kind) if entry.origin.plugin is None]


# ------------------------------------------------------------------------------------------------ float64


@contextlib.contextmanager
def float64() -> Iterator[None]:
    """Run language models in float64, and with them every place that asks for float32 by name."""
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    before = torch.get_default_dtype()
    begun = adapters.Adapter.__init__

    def begin(self: Any, *args: Any, **kwargs: Any) -> None:
        begun(self, *args, **kwargs)
        self.double()

    def norm(self: Any, x: torch.Tensor) -> torch.Tensor:
        return self.weight * x * torch.rsqrt((x**2).mean(-1, keepdim=True) + self.variance_epsilon)

    torch.set_default_dtype(torch.float64)
    try:
        with (
            mock.patch.object(torch.Tensor, "float", torch.Tensor.double),
            mock.patch.object(adapters.Adapter, "__init__", begin),
            mock.patch.object(LlamaRMSNorm, "forward", norm),
        ):
            yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def solved() -> Iterator[None]:
    """Let smooth fits go on to the last digits: a solver's stopping point depends on the processor."""
    from scipy import optimize

    begun = optimize.minimize

    def minimize(objective: Any, start: Any, *args: Any, **kwargs: Any) -> Any:
        found = begun(objective, start, *args, **kwargs)
        if kwargs.get("jac") is True:
            nearer = optimize.root(lambda x: objective(x)[1], found.x, tol=1e-15).x
            # Only the last digits: where the solver went astray the figure must show it.
            if np.allclose(nearer, found.x, rtol=CLOSE, atol=CLOSE):
                found.x = nearer
        return found

    with mock.patch.object(optimize, "minimize", minimize):
        yield


def small_model(architecture: str, vocabulary: int, context: int) -> Any:
    """A random model whose weights are float64 to the last digit."""
    model = tiny_model(architecture, vocabulary, context, seed=0).double()
    if architecture == "llama":
        rotary = model.model.rotary_emb
        power = torch.arange(len(rotary.inv_freq)) / len(rotary.inv_freq)
        rotary.inv_freq = 10000.0**-power  # was rounded to float32
    return model


# --------------------------------------------------------------------------------------------- in few numbers


def projected(values: Any, count: int = 3) -> list[float]:
    """A few sums of an array over fixed directions: whatever moves, moves them."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    directions = np.random.default_rng(len(flat)).uniform(-1, 1, (count, len(flat)))
    return [float(direction @ flat) for direction in directions]


def frame_digest(frame: pd.DataFrame) -> str:
    """Of the texts and whole numbers in a table."""
    kept = frame[[name for name in frame.columns if frame[name].dtype.kind != "f"]]
    return text_digest([*kept.columns, *(str(value) for row in kept.to_numpy().tolist() for value in row)])


def flat(values: Mapping[str, Any], before: str = "") -> Figures:
    """Nested dictionaries and lists as names to values."""
    result: Figures = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{before}{key}/")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            for index, each in enumerate(value):
                result |= flat(each, f"{before}{key}/{index}/")
        else:
            result[f"{before}{key}"] = value
    return result


def few(entry: registry.Entry, **more: Any) -> dict[str, Any]:
    """Options of an aligner with which it takes two or three steps."""
    return {key: value for key, value in FEW.items() if key in entry.options.model_fields} | more


def variants(options: Any, besides: Sequence[Any] = ()) -> Iterator[dict[str, Any]]:
    """Each choice that options offer beside the defaults, one at a time; not those of the `besides`."""
    for name, field in options.model_fields.items():
        if any(name in other.model_fields for other in besides):
            continue
        if name in ELSEWHERE:
            yield {name: ELSEWHERE[name]}
        for value in _choices(field.annotation):
            if value != field.default:
                yield {name: value}


def _choices(annotation: Any) -> tuple[Any, ...]:
    if annotation is bool:
        return (False, True)
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    if get_origin(annotation) in (Union, UnionType):
        return tuple(choice for part in get_args(annotation) for choice in _choices(part))
    return ()


def label(options: Mapping[str, Any]) -> str:
    """Options as part of a name."""
    return ",".join(f"{key}={value}" for key, value in options.items()) or "default"


# ---------------------------------------------------------------------------------------------------- options


@section("options", EXACT)
def defaults(folder: Path) -> Figures:
    """What is taken where nobody asks: a learning rate, a share, a number of steps."""
    result: Figures = {}
    kinds: tuple[registry.EntryKind, ...] = ("task", "aligner", "model")
    for kind in kinds:
        for entry in entries(kind):
            result[f"{kind} {entry.name}"] = {
                name: field.get_default(call_default_factory=True)
                for name, field in entry.options.model_fields.items()
                if not field.is_required()
            }
    return result


# ----------------------------------------------------------------------------------------------------- worlds


def small_spec(task: str, aligner: str = "reference", model: Mapping[str, Any] | None = None) -> Any:
    """A specification at a small size."""
    known = registry.get("task", task).options.model_fields
    sets = {"task": {key: value for key, value in SMALL.items() if key in known}, "model": dict(model or {})}
    return make_spec(task=task, aligner=aligner, minority_ratio=0.25, sets=sets)


def stated(spec: Any) -> Problem:
    """The problem of a specification."""
    task = registry.get("task", spec.task)
    return task.function(spec.data, spec.minority_ratio, spec.seed, **spec.task_options)


@dataclass(frozen=True)
class Bench:
    """A problem, its labels and a backbone."""

    problem: Problem
    rows: pd.DataFrame
    backbone: Any
    folder: Path

    def align(self, entry: registry.Entry, options: Mapping[str, Any]) -> Aligned:
        """What an aligner makes of it."""
        work = Path(tempfile.mkdtemp(dir=self.folder))
        view = make_view(self.rows, self.problem, entry.needs, seed=0)
        made = entry.function(view, self.backbone.at(Work("figures", work)), entry.options(**options))
        return made if isinstance(made, Aligned) else Aligned(made)


def world_bench(task: str, folder: Path, model: Mapping[str, Any] | None = None) -> Bench:
    """A world with labels drawn from its reference."""
    from prefbench.backbone.finite.backbone import Finite

    spec = small_spec(task, model=model)
    problem, store = stated(spec), Store(folder)
    assert problem.world is not None
    options = registry.get("model", spec.model).options(**spec.model_options)
    backbone = Finite(problem.world, options, store, Work("figures", folder))
    return Bench(problem, labels_of(spec, problem, backbone, store).rows, backbone, folder)


def exactly(bench: Bench, policy: Policy) -> Figures:
    """What a policy of a world is worth to each group, from its distribution."""
    table = bench.backbone.distribution(policy, bench.problem.prompts.test)
    states = table["state"].nunique()
    ours, theirs, weight = (
        table[name].to_numpy().reshape(states, -1) for name in ("policy", "reference", "state_weight")
    )
    names = [group.name for group in bench.problem.groups]
    result: dict[str, list[float]] = {"utility": [], "win": []}
    for index in range(len(names)):
        utility = table[f"utility/{index}"].to_numpy().reshape(states, -1)
        ahead = utility[:, :, None] - utility[:, None, :]
        wins = np.where(np.abs(ahead) < 1e-9, 0.5, ahead > 0)
        result["win"].append(float(np.einsum("s,sa,sb,sab->", weight[:, 0], ours, theirs, wins)))
        result["utility"].append(float((weight * ours * utility).sum()))
    named = table.rename(columns={f"utility/{i}": f"utility/{name}" for i, name in enumerate(names)})
    assert bench.problem.world is not None
    lost = regret.regrets(named, names, bench.problem.world.beta)
    result["regret"] = [row["regret"] for row in lost["groups"]]
    return {**result, "kl": lost["kl"], "egalitarian": lost["egalitarian_regret"]}


def _world(task: str, folder: Path) -> Figures:
    bench = world_bench(task, folder)
    world, rows = bench.problem.world, bench.rows
    assert world is not None
    result: Figures = {
        "labels": frame_digest(rows),
        "features": projected(world.features),
        "utilities": projected(world.utilities),
        "reference": projected(world.reference),
    }
    for entry in entries("aligner"):
        with contextlib.suppress(UserError):  # it says that it does not apply
            if "finite" in entry.backbones:
                options = few(
                    entry, **({"em_restarts": 2} if "em_restarts" in entry.options.model_fields else {})
                )
                result |= flat({entry.name: exactly(bench, bench.align(entry, options).policy)})
    return result


def _choices_in_a_world(name: str, folder: Path) -> Figures:
    entry = registry.get("aligner", name)
    bench = world_bench("gridworld_two_group", folder)
    return flat(
        {
            label(choice): exactly(bench, bench.align(entry, few(entry) | choice).policy)
            for choice in variants(entry.options, [learning.PPOOptions])
        }
    )


def _model_of_a_world(choice: Mapping[str, Any], folder: Path) -> Figures:
    bench = world_bench("bandit_k_group", folder, choice)
    named = ("single_reward", "dpo", "gr_dpo", "maxmin_known_groups")
    used = [registry.get("aligner", name) for name in named]
    return flat({entry.name: exactly(bench, bench.align(entry, few(entry)).policy) for entry in used})


@section("theory", EXACT)
def bounds(folder: Path) -> Figures:
    """The quantities that docs/theory.md bounds, in one world."""
    rows = theory.measure(stated(small_spec("bandit_k_group")), [0.15, 1.0])
    return flat({"rows": rows})


# ------------------------------------------------------------------------------------------------------- data


def _task(name: str, folder: Path) -> Figures:
    return described(stated(small_spec(name)))


def described(problem: Problem) -> Figures:
    """A problem's texts, groups and labels, without a model."""
    prompts = problem.prompts
    result: Figures = {
        "prompts": text_digest([*prompts.train, "|", *prompts.validation, "|", *prompts.test]),
        "splits": [len(prompts.train), len(prompts.validation), len(prompts.test)],
        "corpus": text_digest(problem.corpus),
        "groups": [
            [group.name, group.share, group.utility.name.partition("@")[0], group.instruction]
            for group in problem.groups
        ],
        "labelling": [problem.annotators, problem.pairs_per_annotator, problem.temperature],
        "responses": [problem.response_tokens, problem.chat],
    }
    if problem.world is not None:
        responses = [text for row in problem.world.responses for text in row]
        return {**result, "world": text_digest(responses), "beta": problem.world.beta}
    if problem.given is not None:
        rows, conflict = given_pairs(problem)
        return {**result, "given": frame_digest(rows), **flat({"conflict": conflict})}
    rows, conflict = label_pairs(pairs_from(problem), problem, seed=0)
    numbers = rows.select_dtypes("float")
    return {
        **result,
        "labels": frame_digest(rows),
        **flat({"conflict": conflict, "utility": {name: projected(numbers[name]) for name in numbers}}),
    }


def pairs_from(problem: Problem) -> pd.DataFrame:
    """Two texts of the corpus as responses to each prompt."""
    splits = {split: getattr(problem.prompts, split) for split in ("train", "validation", "test")}
    prompts = [prompt for members in splits.values() for prompt in members]
    draw = seeds.rng(0, "figures").choice(len(problem.corpus), size=(len(prompts), 2))
    said = [[problem.corpus[i][-60:] for i in row] for row in draw.tolist()]
    return pd.DataFrame(
        {
            "split": [split for split, members in splits.items() for _ in members],
            "prompt": prompts,
            "response_a": [row[0] for row in said],
            "response_b": [row[1] for row in said],
        }
    )


@section("data/brought", EXACT)
def brought(folder: Path) -> Figures:
    """Labels of real annotators, and a corpus and a table of answers from files."""
    texts = [
        f"{word} film {i}, or so: {sentence}" for i in range(40) for sentence in SENTENCES for word in WORDS
    ]
    reviews = folder / "reviews.csv"
    pd.DataFrame({"text": texts, "label": [i % 2 for i in range(len(texts))]}).to_csv(reviews, index=False)
    answers = folder / "answers.csv"
    pd.DataFrame(
        [
            {"instruction": f"tell me of {word} {i}", "model": model, "output": f"{words} {word} {'so ' * i}"}
            for i in range(10)
            for word in WORDS
            for model, words in zip("abc", SENTENCES, strict=False)
        ]
    ).to_csv(answers, index=False)
    talks = folder / "talks.jsonl"
    talks.write_text(
        "\n".join(
            json.dumps(
                {
                    "chosen": f"\n\nHuman: how do I mend {i}?\n\nAssistant: {WORDS[i % 3]}",
                    "rejected": f"\n\nHuman: how do I mend {i}?\n\nAssistant: {WORDS[(i + 1) % 4]} {i}",
                    "objective": "helpful" if i % 2 else "harmless",
                }
            )
            for i in range(300)
        )
    )
    result: Figures = {}
    for task, data in (
        ("tulu_personas", DATA / "personas"),
        ("hh_two_group", talks),
        ("imdb_two_group", reviews),
        ("response_pool", answers),
    ):
        known = registry.get("task", task).options.model_fields
        some = {**SMALL, "annotators": 6, "test_prompts": 15, "gold_annotators": 1, "utility": "proxy"}
        sets = {"task": {key: value for key, value in some.items() if key in known}}
        spec = make_spec(task=task, aligner="reference", data=str(data), minority_ratio=0.25, sets=sets)
        result |= flat({task: described(stated(spec))})
    return result


EMPTY = -1.5
"""What a response without a word is worth."""
WORDS = ("dull", "grand", "short", "warm")
TEXTS = (
    "",
    " a joy.",
    " not good at all, and far too long; I hated every minute of it!",
    " Thank you, dear friend. It is wonderful: light, warm and funny.",
    " The cinematographer's extraordinary accomplishment notwithstanding, verbosity prevails.",
)


@section("utilities", EXACT)
def every_utility(folder: Path) -> Figures:
    """Utilities of fixed texts: every class that needs nothing, and those of every task and choice."""
    known: dict[str, Any] = {}
    for kind in [kind for room in (content, readability, sentiment) for kind in vars(room).values()]:
        if inspect.isclass(kind) and is_dataclass(kind) and "__call__" in vars(kind):
            needed = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}
            if needed <= {"empty"}:
                known[kind.__name__] = kind(**dict.fromkeys(needed, EMPTY))
    glad = sentiment.VaderSum(EMPTY)
    known["Negated"] = of_others.Negated(glad, EMPTY)
    known["Weighted"] = of_others.Weighted(((0.5, glad), (2.0, content.Conciseness(EMPTY))))
    for entry in entries("task"):
        if entry.backbone == "finite":
            continue  # tables: their sections have them
        for group in stated(small_spec(entry.name)).groups:
            known.setdefault(group.utility.name, group.utility)
    asked = ["what did you think of the film?"] * len(TEXTS)
    return {name: np.asarray(utility(asked, TEXTS)).tolist() for name, utility in known.items()}


# -------------------------------------------------------------------------------------------------- evaluator


@section("evaluator", EXACT)
def evaluated(folder: Path) -> Figures:
    """Win rates, intervals and tests of fixed items."""
    rng = np.random.default_rng(1)
    prompts, samples, names = 30, 2, ("a", "b", "c")
    ids = np.repeat(np.arange(prompts), samples)
    items = pd.DataFrame({"prompt_id": ids, "sample": np.tile(np.arange(samples), prompts)})
    for column in ("prompt", "response", "reference_response"):
        items[column] = [f"{column} {i}" for i in range(len(items))]
    items["empty"] = np.arange(len(items)) % 17 == 3
    items["words"] = np.where(items["empty"], 0, rng.integers(1, 9, len(items)))
    items["reference_words"] = rng.integers(0, 4, len(items))
    items["kl"] = rng.normal(1, 1, len(items))
    for number, name in enumerate(names):
        items[f"utility/{name}"] = rng.integers(0, 5, len(items)) + 0.1 * number
        items[f"reference_utility/{name}"] = rng.integers(0, 4, len(items)) + 0.1 * number
    groups = [("a", 0.5, False), ("b", 0.3, False), ("c", 0.2, True)]
    told = pd.concat(
        [
            items[["prompt_id", "sample", "prompt", "response", "reference_response", "empty"]].assign(
                group=name,
                reference_empty=False,
                utility=items[f"utility/{name}"],
                reference_utility=items[f"reference_utility/{name}"],
            )
            for name in names
        ],
        ignore_index=True,
    )
    prompted, worst = summarise_prompted(told, groups, 0)
    old, new = rng.random((3, 40)), rng.random((3, 40)) * 0.9
    tests = {
        "wilson": list(intervals.wilson(7, 2, 20)),
        "two_level": list(
            intervals.two_level_bootstrap(list(old), intervals.first_column, seeds.rng(0, "figures"))
        ),
        "cluster": list(intervals.cluster_bootstrap(old[0], seeds.rng(0, "figures"))),
        "detectable": power.minimum_detectable_effect(400),
        "needed": power.prompts_needed(0.05),
        "paired": list(comparisons.paired_drop_test(list(old), list(new), 0.02)),
        "two_sample": list(comparisons.two_sample_drop_test(0.6, 400, 0.5, 300, 0.02)),
        "seeds": list(
            comparisons.two_sample_drop_test(
                0.6, 400, 0.5, 300, 0.02, se_base=0.03, se_new=0.02, seeds_base=3, seeds_new=3
            )
        ),
        "holm": np.asarray(comparisons.holm([0.01, 0.04, 0.03])).tolist(),
    }
    return flat({"items": summarise(items, groups, 0), "prompted": prompted, "worst": worst, "tests": tests})


# -------------------------------------------------------------------------------------------- language models


def spoken(rng: np.random.Generator, words: int) -> str:
    """A few words in any order."""
    known = " ".join(SENTENCES).replace(".", "").split()
    return " " + " ".join(known[i] for i in rng.integers(0, len(known), words)) + "."


@functools.cache
def talk() -> tuple[Problem, pd.DataFrame]:
    """A problem for language models, and labelled pairs of fixed responses."""
    rng = np.random.default_rng(2)
    prompts = [f"{sentence[:14]} {i}" for i in range(10) for sentence in SENTENCES]
    problem = Problem(
        groups=(
            Group("glad", 0.75, sentiment.VaderSum(EMPTY)),
            Group("brief", 0.25, content.Conciseness(EMPTY)),
        ),
        prompts=Prompts(tuple(prompts[:24]), tuple(prompts[24:36]), tuple(prompts[36:])),
        corpus=SENTENCES,
        annotators=8,
        pairs_per_annotator=3,
        temperature=0.3,
        response_tokens=6,
    )
    pairs = pairs_from(problem)
    for column in ("response_a", "response_b"):
        pairs[column] = [spoken(rng, int(rng.integers(1, 5))) for _ in range(len(pairs))]
    return problem, label_pairs(pairs, problem, seed=0)[0]


@functools.cache
def tokenizer() -> Any:
    """Trained once; nothing changes it."""
    return tiny_tokenizer()


def language(folder: Path, architecture: str = "gpt2", pooling: Any = "sum", **more: Any) -> CausalLM:
    """A tiny language model as a backbone."""
    words = tokenizer()
    work = folder / "work"
    work.mkdir(exist_ok=True)
    settings = {"policy_learning_rate": 3e-3, "reward_learning_rate": 3e-3, "digest": f"tiny-{architecture}"}
    return CausalLM(
        small_model(architecture, len(words), 32),
        Codec(words, frozenset({words.eos_token_id}), 6, 32),
        store=Store(folder),
        reward_pooling=pooling,
        work=Work("figures", work),
        **settings | more,
    )


def language_bench(folder: Path) -> Bench:
    """The tiny model with the problem of `talk`."""
    problem, rows = talk()
    return Bench(problem, rows, language(folder), folder)


def labelled() -> Pairs:
    """All training pairs of `talk`."""
    rows = talk()[1]
    train = rows[rows["split"] == "train"]
    return Pairs(
        train["prompt"].tolist(),
        train["chosen"].tolist(),
        train["rejected"].tolist(),
        train["user_id"].to_numpy(),
        train["group"].to_numpy(dtype=object),
    )


def held_out() -> tuple[list[str], list[str]]:
    """Prompts and responses that nothing is trained on."""
    rows = talk()[1]
    test = rows[rows["split"] == "test"]
    return test["prompt"].tolist(), test["chosen"].tolist()


def heard(policy: Policy) -> Figures:
    """What a policy says of fixed responses; of one that has no probabilities, what it answers."""
    prompts, responses = held_out()
    logprob = policy.logprob(prompts, responses)
    if logprob is None:
        said = policy.sample(prompts, 2, seeds.child(0, "figures"))
        return {"samples": text_digest([text for row in said for text in row])}
    return {"logprob": [*logprob[:2].tolist(), *projected(logprob)]}


@dataclass
class Trace:
    """What was seen of training."""

    losses: list[float]
    gradient: list[float]
    """Of the first step, for each weight: its sum over a fixed direction."""


@contextlib.contextmanager
def traced() -> Iterator[Trace]:
    """Look on while something is trained."""
    trace = Trace([], [])
    step, clip = training.State.step, torch.nn.utils.clip_grad_norm_

    def stepped(self: Any, *args: Any, **kwargs: Any) -> Any:
        value = step(self, *args, **kwargs)
        trace.losses.append(value)
        return value

    def clipped(parameters: Any, *args: Any, **kwargs: Any) -> Any:
        weights = list(parameters)
        if not trace.gradient:
            trace.gradient = [projected(p.grad.numpy(), 1)[0] for p in weights if p.grad is not None]
        return clip(weights, *args, **kwargs)

    with (
        mock.patch.object(training.State, "step", stepped),
        mock.patch.object(torch.nn.utils, "clip_grad_norm_", clipped),
    ):
        yield trace


def trained(learn: Callable[[], Any]) -> Figures:
    """Losses, the first gradient and the outcome of a learner."""
    with traced() as trace:
        result = learn()
    figures: Figures = {"losses": trace.losses, "gradient": trace.gradient}
    if hasattr(result, "score"):
        return {**figures, "score": projected(result.score(*held_out()))}
    return {**figures, **heard(result)}


@section("learner/reference", DESCENT)
def reference(folder: Path) -> Figures:
    """The nano model: its tokenizer, its first weights and three steps on a corpus."""
    words = tokenizer()
    small = NanoOptions(width=16, layers=1, heads=2, context=32, vocabulary=300)
    model = new_gpt2(words, small, 0)
    ids = [[*row, words.eos_token_id] for row in words(list(SENTENCES) * 4)["input_ids"]]
    first = [projected(weight.detach().numpy(), 1)[0] for weight in model.parameters()]
    with traced() as trace:
        fit_language_model(model, ids, 32, 3, 8, small.learning_rate, 0, Work("figures", folder))
    last = [projected(weight.detach().numpy(), 1)[0] for weight in model.parameters()]
    vocabulary = sorted(words.get_vocab().items(), key=lambda item: item[1])
    return {
        "vocabulary": text_digest([word for word, _ in vocabulary]),
        "tokens": ids[0],
        "weights": first,
        "trained": last,
        "losses": trace.losses,
        "gradient": trace.gradient,
    }


def _reward(folder: Path, **model: Any) -> Figures:
    options = learning.RewardOptions(reward_epochs=1, reward_batch=12)
    backbone = language(folder, **model)
    return trained(lambda: backbone.fit_reward(labelled(), options, seed=0, name="figures"))


@section("learner/reward", DESCENT)
def reward(folder: Path) -> Figures:
    """Bradley-Terry rewards, both poolings."""
    return flat({pooling: _reward(_new(folder), pooling=pooling) for pooling in get_args(Pooling)})


@section("learner/weighted", DESCENT)
def weighted(folder: Path) -> Figures:
    """A reward of weighted pairs, which starts from another."""
    pairs, backbone = labelled(), language(folder)
    options = learning.RewardOptions(reward_epochs=1, reward_batch=12)
    start = backbone.fit_reward(pairs, options, seed=0, name="start")
    pairs = replace(pairs, weights=np.arange(1, len(pairs) + 1) / len(pairs))
    return trained(lambda: backbone.fit_reward(pairs, options, seed=0, name="next", start=start))


PAIRWISE: dict[str, tuple[PairwiseLoss, float | None]] = {
    "dpo": (pairwise.DPO(0.5), None),
    "smoothed": (pairwise.DPO(0.5, 0.1), None),
    "ipo": (pairwise.IPO(0.5), None),
    "robust": (pairwise.DPO(0.5), 0.5),
}


def _pairwise(kind: str, folder: Path, **model: Any) -> Figures:
    loss, group_step = PAIRWISE[kind]
    options = learning.PairTrainingOptions(epochs=1, batch=12)
    backbone = language(folder, **model)
    return trained(lambda: backbone.fit_pairwise(labelled(), loss, options, seed=0, group_step=group_step))


def wishes(prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
    """Two rewards that depend on the letters of a response."""
    return np.array([[sum(map(ord, r)) % 7 / 3 - 1, len(r) / 9 - 1] for r in responses])


def _softest(values: np.ndarray) -> float:
    """A smooth minimum of the groups' values, concave and rising."""
    return -float(np.logaddexp.reduce(-values))


def _ppo(kind: Any, folder: Path, choice: Mapping[str, Any] | None = None, **model: Any) -> Figures:
    short = {"iterations": 3, "batch": 8, "minibatches": 2, "epochs": 1}
    options = learning.PPOOptions(**short | (choice or {}))
    backbone = language(folder, **model)
    shares = None if kind == "mean" else (0.7, 0.3)
    own = welfares.Welfare.of_values(_softest, lambda v: np.exp(-v) / np.exp(-v).sum(), concave=True)
    aim = own if kind == "of_values" else welfares.Welfare(kind, shares)
    prompts = talk()[0].prompts.train
    figures = trained(
        lambda: backbone.optimise(wishes, aim, options, prompts=prompts, seed=0, names=["one", "other"])
    )
    history = json.loads((backbone.work.path / "history.json").read_text())
    return {**figures, "history": [value for row in history for value in row.values()]}


def _mixture(choice: Mapping[str, Any], folder: Path) -> Figures:
    some = {key: value for key, value in FEW.items() if key in learning.EMOptions.model_fields}
    options, backbone = learning.EMOptions(**some | choice), language(folder)
    return learned(em.fit_mixture(backbone, labelled(), options, 0, labelled()))


def _new(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=folder))


def _adapted(folder: Path, architecture: str, lora: dict[str, Any] | None) -> Figures:
    """Reward, DPO and PPO of another architecture, or with LoRA."""
    model: dict[str, Any] = {"architecture": architecture, "lora": lora, "pooling": "last"}
    return flat(
        {
            "reward": _reward(_new(folder), **model),
            "dpo": _pairwise("dpo", _new(folder), **model),
            "ppo": _ppo("population_min", _new(folder), **model),
        }
    )


@section("learner/combined", DESCENT)
def combined(folder: Path) -> Figures:
    """The product and the average of two policies."""
    backbone = language(folder)
    options = learning.PairTrainingOptions(epochs=1, batch=12)
    parts = [
        backbone.fit_pairwise(labelled(), pairwise.DPO(0.5), options, seed=seed, name=str(seed))
        for seed in (0, 1)
    ]
    product = backbone.log_linear(parts, [0.8, 0.4])
    said = product.sample(held_out()[0], 1, seeds.child(0, "figures"))
    return flat(
        {
            "log_linear": heard(product),
            "average": heard(backbone.average(parts, [0.8, 0.2])),
            "samples": text_digest([row[0] for row in said]),
        }
    )


@section("sampler", DESCENT)
def sampler(folder: Path) -> Figures:
    """Tokens for fixed numbers, and log-probabilities, of both architectures."""
    result: Figures = {}
    for architecture in ("gpt2", "llama"):
        backbone = language(_new(folder), architecture)
        codec = backbone.codec
        prompts = codec.prompts(held_out()[0])
        uniform = torch.from_numpy(np.random.default_rng(3).random((2 * len(prompts), codec.response_tokens)))
        drawn = sample_tokens(backbone.reference.model, codec, prompts, 2, uniform, backbone.limits.sampling)
        result |= flat({architecture: {"tokens": drawn, **heard(backbone.reference)}})
    return result


@section("learner/linear", EXACT)
def linear(folder: Path) -> Figures:
    """Linear rewards, and EM on them."""
    rng = np.random.default_rng(4)
    taste = np.array([[2.0, 0.0, 0.5, -1.0], [-2.0, 1.0, 0.0, 1.0]])
    user = np.repeat(np.arange(8), 12)
    difference = rng.normal(size=(len(user), 4))
    liked = rng.random(len(user)) < 1 / (1 + np.exp(-(difference * taste[user % 2]).sum(1)))
    difference = np.where(liked[:, None], difference, -difference)
    start = em.best_start(difference, user, 2, 2, seed=0)
    return {
        "weights": bradley_terry.fit_linear(difference, precise=True).tolist(),
        "loose": bradley_terry.fit_linear(difference, 2.0, rng.random(len(user))).tolist(),
        "together": (start.assignment == start.assignment[0]).tolist(),
        "likelihood": start.likelihood,
    }


def _aligner(name: str, choice: Mapping[str, Any], folder: Path) -> Figures:
    entry = registry.get("aligner", name)
    bench = language_bench(folder)
    made = bench.align(entry, few(entry) | choice)
    return {**heard(made.policy), **({} if made.rewards is None else learned(made.rewards))}


def learned(rewards: Rewards) -> Figures:
    """What rewards say of fixed responses, and how annotators were placed."""
    figures: Figures = {"rewards": projected(rewards(*held_out()))}
    if rewards.em is not None:
        assert rewards.assignment is not None
        figures |= {
            "clusters": [cluster for _, cluster in sorted(rewards.assignment.items())],
            "likelihood": rewards.em["log_likelihood"],
        }
    return figures


def _fill() -> None:
    """Sections for whatever is registered."""
    for entry in entries("task"):
        SECTIONS[f"data/{entry.name}"] = Section(functools.partial(_task, entry.name), EXACT)
        if entry.backbone == "finite":
            SECTIONS[f"world/{entry.name}"] = Section(functools.partial(_world, entry.name), EXACT)
    for choice in variants(registry.get("model", "finite").options):
        SECTIONS[f"world model/{label(choice)}"] = Section(
            functools.partial(_model_of_a_world, choice), EXACT
        )
    for entry in entries("aligner"):
        if "finite" in entry.backbones and any(variants(entry.options, [learning.PPOOptions])):
            SECTIONS[f"world aligner/{entry.name}"] = Section(
                functools.partial(_choices_in_a_world, entry.name), EXACT
            )
        if "causal_lm" in entry.backbones:
            for choice in ({}, *variants(entry.options, LEARNERS)):
                SECTIONS[f"aligner/{entry.name}/{label(choice)}"] = Section(
                    functools.partial(_aligner, entry.name, choice), DESCENT
                )
    for kind in PAIRWISE:
        SECTIONS[f"learner/{kind}"] = Section(functools.partial(_pairwise, kind), DESCENT)
    for kind in get_args(welfares.WelfareKind):
        SECTIONS[f"learner/ppo {kind}"] = Section(functools.partial(_ppo, kind), DESCENT)
    for choice in variants(learning.PPOOptions):
        SECTIONS[f"learner/ppo {label(choice)}"] = Section(
            functools.partial(_ppo, "mean", choice=choice), DESCENT
        )
    for choice in ({}, *variants(learning.EMOptions)):
        SECTIONS[f"learner/em {label(choice)}"] = Section(functools.partial(_mixture, choice), DESCENT)
    for architecture, lora in (("llama", None), ("llama", LORA), ("gpt2", LORA)):
        name = f"learner/{architecture}{' lora' if lora else ''}"
        SECTIONS[name] = Section(functools.partial(_adapted, architecture=architecture, lora=lora), DESCENT)


LORA = {"r": 2, "lora_alpha": 4}
LEARNERS = (learning.EMOptions, learning.PPOOptions, learning.PairwiseOptions)
"""Whose choices have sections of their own, so that each aligner need not go through them."""
_fill()
