"""Figures of runs told to trackers that somebody asked for; no run knows of it, and none depends on it."""
