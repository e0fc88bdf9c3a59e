# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A first run
#
# Who is left behind when one policy is trained on everybody's labels? This notebook runs two aligners in a
# small world, and reads what comes out. It needs one CPU core and no network, and takes a few seconds.
#
# The world is a grid. People are shown two walks on it at a time, and say which they like better. Four of
# five want to end in the right corner, the others in the top one. `single_reward` fits one reward to
# everybody's answers, and makes a policy of it. The group with fewer people is the minority.

# %%
import prefbench as pb

result = pb.run("gridworld_two_group", "single_reward")
result

# %% [markdown]
# Above the table stands the progress of the run: open the line to see its stages. Then each row is a group:
#
# - **win rate**: how often its members like the policy's answer better than the reference policy's, which
#   is where learning began. Half is "no better than before"; the thin line in the picture's middle marks
#   it. In brackets is a 95% interval.
# - **won/tied/lost**: the comparisons behind it.
# - The sentence below says who is worst off, or that the data do not tell.
#
# So the policy serves most people perfectly and the others worse than if nobody had been asked. How to read
# the rest is in [Reading a result](../reading.md).
#
# ## What a result holds
#
# Everything that is known of a run is in its record. It lies in a folder below `runs/`, and the same run
# again is read from there, not computed.

# %%
record = result.record
print(f"{record.worst_group} {record.worst_group_win_rate:.2f}, gap {record.gap:.2f}")
for group in record.groups:
    print(group.name, group.wins, group.ties, group.losses)

# %%
again = pb.run("gridworld_two_group", "single_reward")
again.record.groups == record.groups

# %% [markdown]
# The evidence is there as well: every answer, and what each group makes of it. A walk is the text of its
# moves.

# %%
items = result.items()
items[["prompt", "response", "utility/right corner", "utility/top corner"]].head()

# %% [markdown]
# ## A method for the worst off
#
# `maxmin` finds out from the answers alone who agrees with whom, fits a reward to each cluster of people,
# and optimises for the cluster that is worst off.

# %%
fair = pb.run("gridworld_two_group", "maxmin")
fair

# %% [markdown]
# Everybody is better off than before, and the majority pays for it. Was it the method, or the luck of one
# seed? That is the next notebook: [A comparison over seeds](seeds.py).
