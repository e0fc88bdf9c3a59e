"""A language model behind a server is asked; it knows no preferences."""
