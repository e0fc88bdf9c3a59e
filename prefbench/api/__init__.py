"""Objects that Python users hold: runs, comparisons and leaderboards, as tables, frames and figures."""
