"""Many records held against each other: rows, ranks, comparison, CSV, gate, submission, verification."""
