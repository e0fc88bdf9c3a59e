#!/usr/bin/env bash
# Packs the runs of leaderboard/worlds.toml, a file for each world, and makes the tables of each:
#
#   leaderboard/scripts/pack_worlds.sh RUNS
#
set -euo pipefail

runs=$(cd "$1" && pwd)
boards=$(dirname "${BASH_SOURCE[0]}")/../worlds
part=$(mktemp -d)
trap 'rm -rf "$part"' EXIT
mkdir -p "$boards"
for world in worst_case_two_group bandit_two_group bandit_k_group gridworld_two_group response_pool; do
    mkdir "$part/$world"
    ln -s "$runs/boards" "$runs/$world"-* "$part/$world"
    prefbench leaderboard pack "$part/$world" "$boards/$world.zip"
    prefbench leaderboard build --runs-dir "$boards/$world.zip" --out "$boards/$world.csv"
    rm -f "$boards/$world-people.csv" # of one aligner only: people have boards of their own
done
