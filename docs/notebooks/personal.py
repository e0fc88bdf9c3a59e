# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Policies for each person
#
# A single policy answers everybody alike. A personal policy is told something of the person who asks, here
# a few pairs that she has labelled. What is that worth, and how many pairs does it take?
#
# `unseen_annotators` are people whose labels were not in training: they are met when policies are measured,
# as new users would be. `pal` learns from everybody's labels what people differ in, and places a new person
# by her pairs.

# %%
import prefbench as pb

options = {"unseen_annotators": 20, "context_pairs": 16}
pal = pb.run("gridworld_two_group", "pal", task_options=options)
pal

# %% [markdown]
# The first sentence is the *room*: how much knowing the person could be worth in this world at most. Where
# it is zero, no personal policy can be better for the worst group than the best single one.
#
# The second table has a row for each amount of what is known of a person. Read it from `nothing` down. The
# rows behind them are controls: pairs whose labels a coin flipped, pairs of somebody of another group. If
# they did as well as her own, the policy would gain by being shown *something*, not by knowing *her*.
#
# ## The curve
#
# The same over three seeds, beside a policy for everybody:

# %%
three = {"seeds": 3, "task_options": options, "quiet": True}
pal = pb.run("gridworld_two_group", "pal", **three)
maxmin = pb.run("gridworld_two_group", "maxmin", **three)
people = pb.leaderboard(pal, maxmin).people()
curve = people[(people["known"] == "unseen") & (people["context"] == "own")]
curve = curve.pivot(index="n", columns="aligner", values="worst_group_win_rate")
curve.round(2)

# %%
labels = {"xlabel": "pairs known of a person", "ylabel": "worst group's win rate"}
axes = curve.plot(marker="o", figsize=(5, 3), ylim=(0, 1.02), **labels)
half = axes.axhline(0.5, color="grey", linewidth=0.8)

# %% [markdown]
# Of a person of whom nothing is known, the policy for the worst off serves the worst group better. A few of
# her own pairs turn that round. What any method could reach with so many pairs is computed in
# [What a user's own pairs are worth](../personal.md), and how `pal` and its rivals work is in
# [Methods](../methods.md#policies-for-each-person).
