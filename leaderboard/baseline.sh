#!/usr/bin/env bash
# The runs behind leaderboard/baseline.csv, small enough for every change: a world that is solved exactly, and
# reviews written by a tiny language model. One seed each, since it is the code that is guarded here and not
# the method. Half a minute on one core.
#
#     leaderboard/baseline.sh RUNS        make the runs, for the gate to judge
#     leaderboard/baseline.sh RUNS CSV    and write the baseline anew, on purpose
set -euo pipefail
runs=${1:?name a folder for the runs}
for aligner in reference single_reward maxmin gold_maxmin; do
  prefbench run --task bandit_two_group --aligner "$aligner" --minority-ratio 4:1 \
    --set task.test_prompts=4000 --runs-dir "$runs" --quiet
done
prefbench run --task imdb_two_group --aligner maxmin --minority-ratio 4:1 \
  --set task.synthetic_size=4000 --set task.test_prompts=1000 --set task.annotators=20 \
  --set task.pairs_per_annotator=30 --set model.steps=200 --set model.width=32 --set aligner.iterations=25 \
  --runs-dir "$runs" --quiet
[ -z "${2:-}" ] || prefbench leaderboard build --runs-dir "$runs" --out "$2"
