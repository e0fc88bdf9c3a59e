"""The figures of docs/worlds.md on worlds whose responses can be listed, one section for each argument.

    python leaderboard/scripts/worlds.py robust solvers scale clusters ppo growth

Sections: `robust` (T7: group-robust DPO), `solvers` (T6: three solvers, one optimum), `scale` (T8:
normalisation), `clusters` (T4: EM, with a heat map), `ppo` (PPO by sampling against the exact optimum),
`growth` (seconds against sizes). Tables go to standard output, pictures to docs/images. Runs are kept in a
temporary folder.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from prefbench import registry
from prefbench.evaluate.regret import preference_losses
from prefbench.learn import exact
from prefbench.learn.game import Game
from prefbench.learn.welfare import Welfare
from prefbench.record.schema import Record
from prefbench.running.run import run
from prefbench.spec import make_spec

IMAGES = Path(__file__).parents[2] / "docs" / "images"


def measured(
    runs: Path, task: str, aligner: str, seed: int, ratio: float = 0.2, /, **sets: dict[str, str]
) -> tuple[Path, Record]:
    """One run; `sets` are the option tables by section."""
    return run(make_spec(task=task, aligner=aligner, seed=seed, minority_ratio=ratio, sets=sets), runs)


def table(rows: Sequence[dict]) -> None:
    """Print rows as markdown."""
    text = [{k: f"{v:.3f}" if isinstance(v, float) else v for k, v in row.items()} for row in rows]
    print(pd.DataFrame(text).to_markdown(index=False, disable_numparse=True), "\n")


def robust(runs: Path) -> None:
    """T7: the largest group loss of the DPO family on the group bandit, 20 seeds."""
    print("## robust\n")
    rows = []
    for features in ("same", "swapped", "flipped"):
        worst = {}
        for aligner in ("dpo", "is_dpo", "gr_dpo", "ipo", "gr_ipo"):
            losses, regret = [], []
            for seed in range(20):
                folder, record = measured(
                    runs, "bandit_two_group", aligner, seed, task={"features": features}
                )
                frame = pd.read_parquet(folder / "distribution.parquet")
                names = [group.name for group in record.groups]
                beta = record.regret.beta / 0.5  # the family's own in this world
                losses.append(max(preference_losses(frame, names, beta=beta, temperature=0.5).values()))
                regret.append(record.regret.max_regret)
            worst[aligner] = np.array(losses)
            rows.append(
                {
                    "features": features,
                    "aligner": aligner,
                    "largest group loss": np.mean(losses),
                    "standard error": np.std(losses, ddof=1) / 20**0.5,
                    "largest regret": np.mean(regret),
                    "below dpo, seeds": f"{(worst[aligner] < worst['dpo']).sum()}/20",
                    "below is_dpo, seeds": f"{(worst[aligner] < worst['is_dpo']).sum()}/20"
                    if "is_dpo" in worst
                    else "",
                }
            )
    table(rows)


def _random_game(seed: int, groups: int, beta: float) -> Game:
    rng = np.random.default_rng(seed)
    return Game(
        rng.normal(size=(3, 4, groups)),
        rng.dirichlet(np.full(4, 3.0), size=3),
        rng.dirichlet(np.full(3, 5.0)),
        beta,
    )


def _by_slsqp(game: Game) -> float:
    """max t subject to V_g >= t over all policies: knows nothing of duality."""
    states, responses, _ = game.rewards.shape
    size = states * responses
    total = np.hstack([np.kron(np.eye(states), np.ones(responses)), np.zeros((states, 1))])

    def log(x: np.ndarray) -> np.ndarray:
        return np.log(np.maximum(x[:size].reshape(states, responses), 1e-300))

    found = minimize(
        lambda x: -x[-1],
        np.append(game.reference.ravel(), game.values(np.log(game.reference)).min()),
        jac=lambda x: np.append(np.zeros(size), -1.0),
        method="SLSQP",
        constraints=[
            {"type": "eq", "fun": lambda x: total @ x - 1},
            {"type": "ineq", "fun": lambda x: game.values(log(x)) - x[-1]},
        ],
        bounds=[(1e-12, 1)] * size + [(None, None)],
        options={"ftol": 1e-13, "maxiter": 2000},
    )
    return float(game.values(log(found.x)).min())


def _by_mirror_descent(game: Game) -> float:
    logits = np.zeros(game.groups)
    for _ in range(20_000):
        weights = np.exp(logits - logits.max())
        logits = logits - 0.3 * game.dual(weights / weights.sum())[1]
    weights = np.exp(logits - logits.max())
    return float(game.values(game.policy(weights / weights.sum())).min())


def solvers(runs: Path) -> None:
    """T6: the dual, a generic solver on policies, mirror descent; what the per-sample minimum loses."""
    print("## solvers\n")
    rows = []
    for groups in (2, 3, 5):
        generic, descent, gaps, lost, moved = [], [], [], [], []
        for seed in range(20):
            game = _random_game(seed, groups, 0.5)
            ours = exact.maxmin(game)
            sample = exact.optimum(game, Welfare("per_sample_min"))
            gaps.append(ours.gap)
            generic.append(abs(ours.welfare - _by_slsqp(game)))
            descent.append(abs(ours.welfare - _by_mirror_descent(game)))
            lost.append(ours.welfare - sample.values.min())
            away = np.abs(np.exp(ours.logprob) - np.exp(sample.logprob)).sum(axis=1) @ game.weights / 2
            moved.append(away)
        rows.append(
            {
                "groups": groups,
                "worlds": 20,
                "largest duality gap": f"{max(gaps):.1e}",
                "dual against SLSQP": f"{max(generic):.1e}",
                "dual against mirror descent": f"{max(descent):.1e}",
                "per-sample minimum loses, mean": np.mean(lost),
                "at most": np.max(lost),
                "its total variation from maxmin, mean": np.mean(moved),
            }
        )
    table(rows)


def scale(runs: Path) -> None:
    """T8: one group's reward times a factor, with and without normalisation."""
    print("## scale\n")
    rows = []
    for factor in (0.1, 0.5, 2.0, 10.0):
        for normalise in (False, True):
            moved = []
            for seed in range(20):
                game = _random_game(seed, 2, 0.5)
                moved.append(
                    np.abs(
                        _maxmin_policy(game, 1.0, normalise) - _maxmin_policy(game, factor, normalise)
                    ).sum(axis=1)
                    @ game.weights
                    / 2
                )
            rows.append(
                {
                    "factor": factor,
                    "normalised": normalise,
                    "policy moves by, mean": np.mean(moved),
                    "at most": max(moved),
                }
            )
    table(rows)


def _maxmin_policy(game: Game, factor: float, normalise: bool) -> np.ndarray:
    rewards = game.rewards * np.array([1.0, factor])
    if normalise:
        mass = (game.reference * game.weights[:, None])[..., None]
        mean = (rewards * mass).sum(axis=(0, 1))
        rewards = (rewards - mean) / np.sqrt(((rewards - mean) ** 2 * mass).sum(axis=(0, 1)))
    return np.exp(exact.maxmin(Game(rewards, game.reference, game.weights, game.beta)).logprob)


def clusters(runs: Path) -> None:
    """T4: the adjusted Rand index of EM against pairs per annotator, annotators and minority share."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    print("## clusters\n")
    pairs, crowd, shares, seeds = (2, 5, 10, 20, 40, 80), (10, 20, 40, 80), (0.1, 0.2, 0.5), range(5)
    options = {"groups": "2", "test_prompts": "20"}
    cell: dict[tuple, list[float]] = {}
    for share in shares:
        for annotators in crowd:
            for each in pairs:
                size = {"annotators": str(annotators), "pairs_per_annotator": str(each)}
                cell[share, annotators, each] = [
                    measured(runs, "bandit_k_group", "maxmin", seed, share, task={**options, **size})[
                        1
                    ].em.adjusted_rand_index
                    for seed in seeds
                ]
    figure, axes = pyplot.subplots(1, len(shares), figsize=(11, 3.4), sharey=True, layout="constrained")
    for axis, share in zip(axes, shares, strict=True):
        grid = np.array([[np.mean(cell[share, a, p]) for p in pairs] for a in crowd])
        image = axis.imshow(grid, vmin=0, vmax=1, cmap="cividis", aspect="auto", origin="lower")
        axis.set_title(f"minority share {share:g}")
        axis.set_xticks(range(len(pairs)), pairs)
        axis.set_yticks(range(len(crowd)), crowd)
        axis.set_xlabel("pairs per annotator")
        for (i, j), value in np.ndenumerate(grid):
            axis.text(
                j, i, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.6 else "black"
            )
    axes[0].set_ylabel("annotators")
    figure.colorbar(image, ax=axes, label="adjusted Rand index, mean of 5 seeds")
    IMAGES.mkdir(parents=True, exist_ok=True)
    figure.savefig(IMAGES / "em_recovery.png", dpi=130)
    print("docs/images/em_recovery.png: 2 groups, diversity 0.7, temperature 0.5, 5 seeds a cell\n")
    rows = []
    for name, aligner in (
        ("hard", {}),
        ("soft", {"em_assignment": "soft"}),
        ("hard, each pair by itself", {"em_unit": "pair"}),
        ("soft, each pair by itself", {"em_unit": "pair", "em_assignment": "soft"}),
        ("hard, one cluster", {"clusters": "1"}),
        ("hard, three clusters", {"clusters": "3"}),
        ("hard, 1 to 4 clusters by held-out likelihood", {"select_clusters": "4"}),
    ):
        records = [
            measured(runs, "bandit_k_group", "maxmin", seed, task=options, aligner=aligner)[1]
            for seed in range(10)
        ]
        rows.append(
            {
                "EM": name,
                "adjusted Rand index, mean": np.mean([r.em.adjusted_rand_index for r in records]),
                "least": min(r.em.adjusted_rand_index for r in records),
                "clusters": " ".join(str(sum(size > 0 for size in r.em.cluster_sizes)) for r in records),
                "nats a training pair": np.mean([r.em.log_likelihood[-1] for r in records]),
                "worst group's accuracy": np.mean(
                    [min(g.reward_accuracy for g in r.groups) for r in records]
                ),
                "egalitarian regret": np.mean([r.regret.egalitarian_regret for r in records]),
            }
        )
    table(rows)


def ppo(runs: Path) -> None:
    """PPO by sampling against the closed form, in the record's own exact terms."""
    print("## ppo\n")
    rows = []
    for aligner in ("gold_utilitarian", "gold_maxmin"):
        for iterations in (50, 100, 200, 400):
            short = []
            for seed in range(3):
                task = {"groups": "2", "states": "5"}
                settings = {"iterations": str(iterations), "batch": "512", "epochs": "4", "minibatches": "1"}
                model = {"optimiser": "ppo", "policy": "tabular"}
                _, sampled = measured(
                    runs, "bandit_k_group", aligner, seed, task=task, aligner=settings, model=model
                )
                _, closed = measured(runs, "bandit_k_group", aligner, seed, task=task)
                weights = [0.8, 0.2]
                ours, best = ([g.value for g in r.regret.groups] for r in (sampled, closed))
                if aligner == "gold_maxmin":
                    short.append(min(best) - min(ours))
                else:
                    short.append(np.dot(weights, best) - np.dot(weights, ours))
            rows.append(
                {
                    "aligner": aligner,
                    "iterations": iterations,
                    "short of the closed form, mean": np.mean(short),
                    "at most": max(short),
                }
            )
    table(rows)


def growth(runs: Path) -> None:
    """Seconds of a whole run in a process that is warm, against the sizes of the world."""
    print("## growth\n")
    sizes = {
        "test prompts": ("test_prompts", (200, 800, 3200)),
        "states": ("states", (20, 80, 320)),
        "responses": ("actions", (8, 32, 128)),
        "pairs per annotator": ("pairs_per_annotator", (25, 100, 400)),
        "groups": ("groups", (2, 4, 8)),
    }
    rows = []
    for name, (option, values) in sizes.items():
        for value in values:
            seconds = {}
            for aligner in ("single_reward", "maxmin"):
                took = []
                fresh = runs / f"{option}-{value}-{aligner}"  # nothing stored by another row
                for seed in range(4):
                    start = time.perf_counter()
                    measured(fresh, "bandit_k_group", aligner, seed, 0.1, task={option: str(value)})
                    took.append(time.perf_counter() - start)
                seconds[f"{aligner}, ms"] = round(1000 * float(np.median(took)))
            rows.append({"size": name, "value": value, **seconds})
    table(rows)


SECTIONS = {f.__name__: f for f in (robust, solvers, scale, clusters, ppo, growth)}

if __name__ == "__main__":
    registry.load_plugins()
    for section in sys.argv[1:] or SECTIONS:
        with tempfile.TemporaryDirectory() as folder:
            SECTIONS[section](Path(folder))
