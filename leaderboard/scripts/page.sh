#!/usr/bin/env bash
# Makes leaderboard/report.html of the boards of reviews.
set -euo pipefail

boards=$(dirname "${BASH_SOURCE[0]}")/..
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
prefbench leaderboard pack "$boards"/reviews/*.zip "$temporary/reviews.zip"
prefbench report --runs-dir "$temporary/reviews.zip" --out "$boards/report.html"
