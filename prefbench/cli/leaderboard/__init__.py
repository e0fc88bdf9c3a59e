"""`prefbench leaderboard`: every configuration over its seeds."""
