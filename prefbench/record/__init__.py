"""One run on disk: its record, its evidence, and what can be known of both without its model."""
