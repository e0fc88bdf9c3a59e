"""Many records held against each other: rows, ranks, comparison, gate, submission."""
