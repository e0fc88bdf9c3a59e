"""`prefbench cache`: stored stages, looked at, checked and cleared away."""
