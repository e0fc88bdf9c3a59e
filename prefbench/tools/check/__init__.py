"""Contract checks for anyone's task or aligner."""
