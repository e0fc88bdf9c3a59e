#!/usr/bin/env bash
# The runs behind leaderboard/results.csv: every aligner at four minority ratios and five seeds, about
# three hours on one core. Stages are shared and finished runs are not repeated, so it can be stopped and
# started again, and several copies may run side by side.
set -euo pipefail
runs=${1:-runs}
for ratio in 1:1 2:1 6:1 10:1; do
  for aligner in reference constant longest shortest single_reward single_reward_balanced dpo \
    maxmin maxmin_known_groups gold_utilitarian gold_maxmin; do
    prefbench run --task imdb_two_group --aligner "$aligner" --minority-ratio "$ratio" --seeds 5 --runs-dir "$runs"
  done
done
prefbench leaderboard build --runs-dir "$runs" --out leaderboard/results.csv
