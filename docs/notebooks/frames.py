# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Records and items as data frames
#
# Runs leave files: a record of each, and its evidence. `pb.runs_frame` and `pb.items_frame` read them as
# pandas data frames, of a folder of runs or of what `pb.run` returned. First some runs, at three shares of
# the minority:

# %%
import prefbench as pb

for share in (0.1, 0.2, 0.4):
    for aligner in ("single_reward", "maxmin"):
        task = "gridworld_two_group"
        pb.run(task, aligner, minority_ratio=share, seeds=2, quiet=True)

# %% [markdown]
# ## A row for each run
#
# Settings, how it ended, the figures that sum it up with their intervals, and the folder in which
# everything lies.

# %%
runs = pb.runs_frame("runs")
shown = ["aligner", "minority_ratio", "seed", "worst_group", "worst_group_win_rate", "gap", "status"]
runs[shown]

# %%
runs.columns

# %%
runs.groupby(["minority_ratio", "aligner"])["worst_group_win_rate"].mean().unstack().round(2)

# %% [markdown]
# Such means have no interval and no test. For a claim use `pb.compare` or `pb.leaderboard`, which take one
# run for one observation and say what may be said: [A comparison over seeds](seeds.py).
#
# ## A row for each run and group
#
# `pb.load` gives the runs themselves. They can be chosen from, and have a frame with every group's counts
# and utilities.

# %%
results = pb.load("runs").where(minority_ratio=0.2)
groups = results.frame()
groups[["aligner", "seed", "group", "win_rate", "ci_low", "ci_high", "wins", "ties", "losses"]]

# %% [markdown]
# ## A row for each response
#
# What was answered to which prompt, what the reference policy answered, and what each group makes of both.
# Here are the answers on which the two groups disagree most:

# %%
items = pb.items_frame(results.where(aligner="maxmin", seed=0))
items["apart"] = items["utility/right corner"] - items["utility/top corner"]
answers = items.sort_values("apart")[["prompt", "response", "reference_response", "apart"]]
answers.iloc[[0, 1, -2, -1]]

# %% [markdown]
# Every number of a record can be computed again from these rows. A group's win rate, ties being one half:

# %%
ours, reference = items["utility/top corner"], items["reference_utility/top corner"]
won = float((ours > reference).mean() + (ours == reference).mean() / 2)
said = results.where(aligner="maxmin", seed=0).record.groups[1].win_rate
print(round(won, 4), round(said, 4))

# %% [markdown]
# ## Figures
#
# The project's own figures are drawn of the same runs:

# %%
pb.load("runs").plot("shares")

# %% [markdown]
# Every field of a record is explained in [The record](../record.md), every column of the items in [File
# formats](../formats.md).
