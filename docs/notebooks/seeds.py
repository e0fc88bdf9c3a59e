# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A comparison over seeds
#
# One run is one draw of prompts, labels and luck. A claim about a method needs several: at least five
# seeds. This notebook compares two aligners, `maxmin` and `single_reward`, on the same prompts and seeds,
# and says what may be claimed.

# %%
import prefbench as pb

single = pb.run("gridworld_two_group", "single_reward", seeds=5)
maxmin = pb.run("gridworld_two_group", "maxmin", seeds=5)

# %% [markdown]
# Each seed leaves a line; a remark below it is something that a person should see. Of several runs of one
# configuration you get a row each, and the mean over seeds. There one run is one observation, so the
# intervals are wider than those of a single run, and honest about new seeds.

# %%
maxmin

# %% [markdown]
# ## The difference
#
# `pb.compare` subtracts prompt by prompt and seed by seed, tests the differences over seeds, and corrects
# the p values for testing several of them. A is the first, B the second.

# %%
difference = pb.compare(maxmin, single)
difference

# %% [markdown]
# An interval that does not touch the line in the middle is a difference that chance does not explain. Read
# the group's rows together: what the minority gains is paid by the majority. The last columns count the
# prompts on which A's response was better for the group, as good, or worse.
#
# The same numbers as a data frame, with all their digits:

# %%
difference.frame()[["measure", "difference", "low", "high", "p_value"]]

# %% [markdown]
# ## A leaderboard, and figures
#
# A leaderboard ranks any number of configurations. The brackets behind a rank hold every rank that cannot
# be ruled out.

# %%
reference = pb.run("gridworld_two_group", "reference", seeds=5, quiet=True)
board = pb.leaderboard(single, maxmin, reference)
board

# %%
board.plot("headline")

# %%
board.plot("scatter")

# %% [markdown]
# The reference policy is a floor: it learns nothing, stands beside the learners, and is not ranked. More on
# ranks and files is in [The leaderboard](../leaderboard.md), and on what intervals cover in
# [Statistics](../statistics.md).
