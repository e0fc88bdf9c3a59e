"""The order of a run: stage after stage, from a specification to a record."""
