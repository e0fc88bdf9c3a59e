#!/usr/bin/env bash
# Packs the runs of a runs folder whose names fit a pattern, as a board of leaderboard/, and makes its table:
#
#   leaderboard/scripts/pack.sh RUNS reviews/10-1 '*-r0.0909-*'
#
set -euo pipefail

runs=$(cd "$1" && pwd)
board=$(dirname "${BASH_SOURCE[0]}")/../$2
part=$(mktemp -d)
trap 'rm -rf "$part"' EXIT
mkdir -p "$(dirname "$board")"
ln -s "$runs/boards" "$part"
for run in "$runs"/$3/; do
    [[ -e $run/record.json ]] && ln -s "${run%/}" "$part"
done
prefbench leaderboard pack "$part" "$board.zip"
prefbench leaderboard build --runs-dir "$board.zip" --out "$board.csv"
