"""Quiet for the libraries that draw bars and log of their own accord."""

from __future__ import annotations

import importlib
import os
import sys
import warnings


def hush() -> None:
    """Quieten the libraries that draw bars and log of their own accord."""
    for name, value in {
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "DATASETS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
    }.items():
        os.environ.setdefault(name, value)
    # tqdm says so in a notebook without widgets as soon as a library imports it, though no bar is drawn.
    warnings.filterwarnings("ignore", "IProgress not found")
    # They read the variables when they are imported, and something may have imported them before.
    if "huggingface_hub" in sys.modules:
        importlib.import_module("huggingface_hub.utils").disable_progress_bars()
    if "transformers" in sys.modules:
        logging = sys.modules["transformers"].utils.logging
        logging.disable_progress_bar()
        if os.environ["TRANSFORMERS_VERBOSITY"] == "error":
            logging.set_verbosity_error()
