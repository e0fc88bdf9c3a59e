# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # An aligner in a cell
#
# An aligner is a function: from what it may see, and a backbone that trains, to a policy. Written in a cell
# it can be run, changed and run again at once. This one sits between the mean of the groups and the worst
# of them.

# %%
from pydantic import Field

import prefbench as pb
from prefbench.learn.options import SingleRewardOptions
from prefbench.learn.rewards import fit_known_groups


class BetweenOptions(SingleRewardOptions):
    """Options of the reward and of its optimisation, and one more."""

    care: float = Field(0.5, ge=0, le=1)
    """Weight of the worst-off group; 0 is the mean alone, 1 the worst alone."""


# %% [markdown]
# What is registered with `pb.aligner` is called `between` from now on. `needs={"group"}` declares that it
# has to know which group each label is from. Whatever it does not declare is taken away before it is
# called.


# %%
def combined(values, care):
    """One number of the groups' values: the larger, the better."""
    return (1 - care) * values.mean() + care * values.min()


@pb.aligner("between", needs={"group"})
def between(view: pb.View, backbone: pb.Backbone, options: BetweenOptions) -> pb.Aligned:
    """A reward for each group, and a policy between their mean and the worst."""
    rewards = fit_known_groups(view, backbone, options)

    def worth(values):
        return combined(values, options.care)

    welfare = pb.Welfare.of_values(worth, concave=True)
    policy = backbone.optimise(rewards, welfare, options, prompts=view.prompts, seed=view.seed)
    return pb.Aligned(policy, rewards)


# %%
half = pb.run("gridworld_two_group", between)
half

# %% [markdown]
# The option is an argument of the run, checked against the limits that the class declares:

# %%
mean = pb.run("gridworld_two_group", between, aligner_options={"care": 0})
pb.compare(half, mean)

# %%
try:
    pb.run("gridworld_two_group", between, aligner_options={"care": 2})
except pb.UserError as error:
    print(error)

# %% [markdown]
# ## Change the cell, run it again
#
# Results are stored under a key that the source is part of: that of the function, and of everything that it
# uses of the notebook. So a changed cell never serves the result of before. Here the helper alone is
# changed, to the mean whatever `care` is; what does not depend on it is read from the store, and the policy
# is made anew.


# %%
def combined(values, care):
    """The mean of the groups' values."""
    return values.mean()


# %%
edited = pb.run("gridworld_two_group", between)
for stage in ("labels", "policy"):
    same = edited.record.stages[stage] == half.record.stages[stage]
    print(stage, "stored" if same else "made anew")
print("as with care=0:", edited.record.groups == mean.record.groups)

# %% [markdown]
# And back, for what follows:


# %%
def combined(values, care):
    """One number of the groups' values: the larger, the better."""
    return (1 - care) * values.mean() + care * values.min()


# %% [markdown]
# ## Is it any good?
#
# Five seeds against the usual method, as in [A comparison over seeds](seeds.py):

# %%
mine = pb.run("gridworld_two_group", between, seeds=5, quiet=True)
usual = pb.run("gridworld_two_group", "single_reward", seeds=5, quiet=True)
pb.compare(mine, usual)

# %% [markdown]
# To keep it or pass it on, put it into a file: [Your own aligner, three ways](../own-aligner.md) has that,
# a loss on pairs, and an answer that hangs on who asks.
