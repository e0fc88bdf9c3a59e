"""Where a sweep's cells run: in processes of this machine, or as tasks of a Ray cluster."""
