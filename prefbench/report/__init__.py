"""Records, leaderboard, gate and what a person sees."""
