"""What is trained: causal language models (and, later, exact finite worlds)."""
