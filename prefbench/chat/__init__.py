"""Questions to a language model behind a server, and its answers; it knows no preferences."""
