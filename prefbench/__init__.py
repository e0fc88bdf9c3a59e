"""The public face of prefbench: alignment under disagreement, measured group by group.

The flow, which is also the layout: a `RunSpec` names a task, an aligner and a model; the task makes a
`Problem`; the reference policy answers its prompts; annotators label pairs; the aligner learns a
policy from the labels; the evaluator tells, group by group, who won and who was left behind.

Tasks, aligners, scripts and notebooks write `import prefbench as pb` and take from it the names that are
listed below, and what it has not from the modules in `PUBLIC_MODULES`. Those are kept from version to
version; everything else may move. A name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from prefbench.version import __version__ as __version__

if TYPE_CHECKING:
    from prefbench import seeds as seeds
    from prefbench.api.board import leaderboard as leaderboard
    from prefbench.api.comparing import compare as compare
    from prefbench.api.frames import items_frame as items_frame
    from prefbench.api.frames import runs_frame as runs_frame
    from prefbench.api.models import compare_models as compare_models
    from prefbench.api.results import load as load
    from prefbench.api.runs import run as run
    from prefbench.errors import UserError as UserError
    from prefbench.learn.interface import Aligned as Aligned
    from prefbench.learn.interface import Backbone as Backbone
    from prefbench.learn.interface import Clusters as Clusters
    from prefbench.learn.interface import Context as Context
    from prefbench.learn.interface import Pairs as Pairs
    from prefbench.learn.interface import Personal as Personal
    from prefbench.learn.interface import Policy as Policy
    from prefbench.learn.interface import Reward as Reward
    from prefbench.learn.interface import Rewards as Rewards
    from prefbench.learn.welfare import Welfare as Welfare
    from prefbench.problem.problem import Group as Group
    from prefbench.problem.problem import Problem as Problem
    from prefbench.problem.problem import Prompts as Prompts
    from prefbench.problem.utilities.protocol import Utility as Utility
    from prefbench.problem.view import View as View
    from prefbench.registry import NoOptions as NoOptions
    from prefbench.registry import Options as Options
    from prefbench.registry import aligner as aligner
    from prefbench.registry import model as model
    from prefbench.registry import policy as policy
    from prefbench.registry import task as task


PUBLIC_MODULES = (
    "prefbench.backbone.finite.backbone",
    "prefbench.backbone.finite.policies",
    "prefbench.backbone.options",
    "prefbench.backbone.outside.interface",
    "prefbench.backbone.presets",
    "prefbench.chat.answers",
    "prefbench.chat.client",
    "prefbench.chat.server",
    "prefbench.data.compared",
    "prefbench.data.generate",
    "prefbench.data.given",
    "prefbench.data.hh",
    "prefbench.data.outside",
    "prefbench.data.personal_llm",
    "prefbench.data.personas",
    "prefbench.data.pool",
    "prefbench.data.reviews",
    "prefbench.evaluate.classifiers",
    "prefbench.evaluate.gold",
    "prefbench.evaluate.judge",
    "prefbench.evaluate.judge_options",
    "prefbench.learn.adaptive",
    "prefbench.learn.by_prompt",
    "prefbench.learn.categorical",
    "prefbench.learn.cautious",
    "prefbench.learn.contrast",
    "prefbench.learn.crowd",
    "prefbench.learn.em",
    "prefbench.learn.ensemble",
    "prefbench.learn.exact",
    "prefbench.learn.experiment",
    "prefbench.learn.experts",
    "prefbench.learn.floor",
    "prefbench.learn.game",
    "prefbench.learn.graded",
    "prefbench.learn.length",
    "prefbench.learn.lexicase",
    "prefbench.learn.low_rank",
    "prefbench.learn.mean_spread",
    "prefbench.learn.median",
    "prefbench.learn.occupancy",
    "prefbench.learn.one_policy",
    "prefbench.learn.options",
    "prefbench.learn.pairwise",
    "prefbench.learn.rewards",
    "prefbench.learn.routers",
    "prefbench.learn.routing",
    "prefbench.learn.selection",
    "prefbench.learn.simple_policies",
    "prefbench.learn.variational",
    "prefbench.learn.votes",
    "prefbench.learn.weighted",
    "prefbench.learn.welfare",
    "prefbench.problem.corpus",
    "prefbench.problem.finite",
    "prefbench.problem.problem",
    "prefbench.problem.process",
    "prefbench.problem.splits",
    "prefbench.problem.utilities.combined",
    "prefbench.problem.utilities.content",
    "prefbench.problem.utilities.protocol",
    "prefbench.problem.utilities.readability",
    "prefbench.problem.utilities.sentiment",
    "prefbench.problem.world",
    "prefbench.registry",
    "prefbench.search",
    "prefbench.testing",
    "prefbench.text",
    "prefbench.work",
)
"""Modules that plug-ins may import from beside the face: policies, what their kinds are given, servers and
judges, rewards, losses, routers, option classes, readers of data, splits, utilities, worlds, the registry,
search distributions, the words for what an aligner will compute, and the assertions for tests."""

HOMES = {
    "prefbench.api.board": ("leaderboard",),
    "prefbench.api.comparing": ("compare",),
    "prefbench.api.frames": ("items_frame", "runs_frame"),
    "prefbench.api.models": ("compare_models",),
    "prefbench.api.results": ("load",),
    "prefbench.api.runs": ("run",),
    "prefbench.learn.interface": (
        "Aligned",
        "Backbone",
        "Clusters",
        "Context",
        "Pairs",
        "Personal",
        "Policy",
        "Reward",
        "Rewards",
    ),
    "prefbench.errors": ("UserError",),
    "prefbench.learn.welfare": ("Welfare",),
    "prefbench.problem.problem": ("Group", "Problem", "Prompts"),
    "prefbench.problem.utilities.protocol": ("Utility",),
    "prefbench.problem.view": ("View",),
    "prefbench.registry": ("NoOptions", "Options", "aligner", "model", "policy", "task"),
    "prefbench.seeds": ("seeds",),
}
"""Modules in which the names of the face are defined; the last is itself the name. The imports above tell
type checkers the same."""

if not TYPE_CHECKING:  # a type checker would take any misspelt name for one of the face

    def __getattr__(name: str) -> object:
        """A name of the face, imported when it is first asked for (PEP 562)."""
        for module, names in HOMES.items():
            if name in names:
                home = import_module(module)
                value = home if module == f"prefbench.{name}" else getattr(home, name)
                globals()[name] = value
                return value
        raise AttributeError(f"module 'prefbench' has no attribute '{name}'")


def __dir__() -> list[str]:
    """The names of the public face."""
    names = (name for names in HOMES.values() for name in names)
    return sorted([*names, "PUBLIC_MODULES", "__version__"])
