"""Models that are aligned: causal language models (`language/`) and worlds that can be listed (`finite/`)."""
