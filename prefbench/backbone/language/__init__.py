"""Causal language models: tokens, forward passes, sampling, training loops, adapters."""
