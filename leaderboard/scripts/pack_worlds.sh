#!/usr/bin/env bash
# Packs the runs of leaderboard/worlds.toml, a file for each world, and makes the tables of each:
#
#   leaderboard/scripts/pack_worlds.sh RUNS
#
set -euo pipefail

here=$(dirname "${BASH_SOURCE[0]}")
for world in worst_case_two_group bandit_two_group bandit_k_group gridworld_two_group response_pool; do
    "$here/pack.sh" "$1" "worlds/$world" "$world-*"
    rm -f "$here/../worlds/$world-people.csv" # of one aligner only: people have boards of their own
done
