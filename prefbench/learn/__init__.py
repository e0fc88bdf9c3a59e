"""Mathematics of learning against the `Backbone` protocol, one readable file each.

The training loops of a language model are in `backbone/language/`: `ppo.py`, `pairwise.py` and `reward.py`.
"""
