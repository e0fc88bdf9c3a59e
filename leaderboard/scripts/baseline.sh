#!/usr/bin/env bash
# The runs behind leaderboard/baseline.csv, small enough for every change: a world that is solved exactly, and
# reviews written by a tiny language model. Five seeds each, since one seed speaks of one policy and not of the
# method. About one and a half minutes on one core.
#
#     leaderboard/scripts/baseline.sh RUNS          make the runs, for the gate to judge
#     leaderboard/scripts/baseline.sh RUNS renew    and put them in the place of the baseline, on purpose
#
# The baseline is leaderboard/baseline.csv and, packed in leaderboard/baseline/, the runs that it was made from,
# so that the gate compares prompt by prompt.
set -euo pipefail
runs=${1:?name a folder for the runs}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
for aligner in single_reward maxmin gold_maxmin; do
  prefbench run --task bandit_two_group --aligner "$aligner" --minority-ratio 4:1 --seeds 5 \
    --runs-dir "$runs" --quiet
done
# Steps large enough that so few of them go far: a learner that breaks falls to one half from well above it.
prefbench run --task imdb_two_group --aligner maxmin_known_groups --minority-ratio 4:1 --seeds 5 \
  --set task.synthetic_size=4000 --set task.test_prompts=500 --set task.annotators=20 \
  --set task.pairs_per_annotator=30 --set model.steps=150 --set model.width=32 \
  --set aligner.iterations=20 --set aligner.learning_rate=0.005 \
  --runs-dir "$runs" --quiet
if [ "${2:-}" = renew ]; then
  prefbench leaderboard build --runs-dir "$runs" --out "$here/baseline.csv"
  rm -rf "$here/baseline"
  prefbench leaderboard submit "$runs" --out "$here/baseline"
fi
