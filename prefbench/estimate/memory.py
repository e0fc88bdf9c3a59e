"""Bytes of a device's memory by part, at the largest moment of a pass through the model."""

from __future__ import annotations

from collections.abc import Iterator

from prefbench.estimate.setting import ADAPTER_BYTES, ModelSetting
from prefbench.work import ROWS_AT_ONCE, Passes, Sizes

ADAM_STATES = 2
"""AdamW keeps two moments of each trained weight, in its type."""
TOKENS_AT_ONCE = 16384
"""Tokens in a pass, padding included, as in `backbone/language/memory.py`, which needs torch."""
CONTEXT_BYTES = 1.0e9
"""Assumed for what is no tensor of ours: the CUDA context, its kernels and their workspaces."""
FRAGMENT_SHARE = 0.05
"""Assumed share of a pass's memory that the allocator holds and cannot use."""


def lengths(work: Passes, setting: ModelSetting, sizes: Sizes) -> tuple[float, int, int]:
    """Mean and longest tokens before a response, and of a response."""
    response = min(sizes.response if work.response is None else work.response, setting.context - 1)
    room = max(1, setting.context - response)
    if work.prompt is not None:
        # A text of the corpus may fill the context.
        return work.prompt, round(work.prompt), setting.context - round(work.prompt)
    return min(sizes.prompt, room), min(sizes.longest_prompt, room), response


def memory(work: Passes, setting: ModelSetting, sizes: Sizes, most: int = ROWS_AT_ONCE) -> dict[str, float]:
    """Bytes by part at the largest moment of one pass of this work.

    The longest prompt is taken for every row of it.

    Args:
        work: what is done.
        setting: the model.
        sizes: of the problem.
        most: rows that the pass may have.
    """
    _, prompt, response = lengths(work, setting, sizes)
    rows = min(rows_in_pass(work, prompt + response), most)
    own = setting.trained * setting.trained_bytes
    fixed = {
        "weights of the reference": setting.base_bytes,
        "adapters" if setting.rank is not None else "weights of trained copies": work.held * own,
        "heads": work.held * ADAPTER_BYTES * (setting.shape.hidden + 1),
        "moments of AdamW": ADAM_STATES * own if work.optimised else 0.0,
    }
    moments = {"train": _training, "score": _scoring, "sample": _sampling}[work.kind]
    passing = max(moments(work, setting, rows, prompt, response), key=lambda moment: sum(moment.values()))
    waste = {"context and fragments": CONTEXT_BYTES + FRAGMENT_SHARE * sum(passing.values())}
    return fixed | passing | waste


Moment = dict[str, float]
"""Bytes of what comes and goes within a pass."""


def _training(work: Passes, setting: ModelSetting, rows: int, prompt: int, response: int) -> Iterator[Moment]:
    length = prompt + response
    whole, row = _logits(setting, rows * length, rows * response)
    kept, layer = setting.activations(rows * length, length, work.all_states)
    gradients = float(setting.trained * setting.trained_bytes)
    # Of a batch in several parts the gradients of the first ones are there; else they come as activations go.
    waiting = gradients if work.batch > rows else 0.0
    if work.vocabulary:
        # The logits, and those of the responses twice in float32; then the log-softmax and two gradients.
        yield {"gradients": waiting, "activations": kept, "logits": max(whole + 8 * row, 12 * row)}
    yield {"gradients": waiting, "activations": kept + layer}
    # AdamW works out all denominators at once.
    yield {"gradients": 2 * gradients}


def _scoring(work: Passes, setting: ModelSetting, rows: int, prompt: int, response: int) -> Iterator[Moment]:
    length, shape = prompt + response, setting.shape
    tokens = rows * length
    state = tokens * setting.bytes * shape.hidden
    states = state * (shape.layers + 1) if work.all_states else state
    yield {"activations": states + setting.inside(tokens, work.held > 0)}
    if work.vocabulary:
        whole, row = _logits(setting, tokens, rows * response)
        together = _product(whole, work, setting) if work.product > 1 else whole
        yield {"activations": states, "logits": together + 8 * row}


def _sampling(work: Passes, setting: ModelSetting, rows: int, prompt: int, response: int) -> Iterator[Moment]:
    shape = setting.shape
    read = -(-rows // work.drawn)  # each prompt is read once
    whole, _ = _logits(setting, read * prompt, 0)
    if work.product > 1:
        whole = _product(whole, work, setting)
    drawing = 12.0 * rows * shape.vocabulary  # logits and probabilities in float32, and those in blocks
    first = setting.cache(read, prompt) * work.product
    yield {"activations": setting.inside(read * prompt, work.held > 0), "key-value cache": first}
    yield {"logits": whole + drawing, "key-value cache": first * rows / read}
    # A layer's longer cache is written before the shorter one goes.
    full = setting.cache(rows, prompt + response - 1) * work.product  # nothing follows the last token
    yield {"logits": drawing, "key-value cache": full * (1 + 1 / shape.layers)}


def _product(whole: float, work: Passes, setting: ModelSetting) -> float:
    """Bytes of the logits of models that are multiplied: each one's, and twice in float32."""
    return work.product * whole * (1 + 8 / setting.bytes)


def _logits(setting: ModelSetting, tokens: int, predicted: int) -> tuple[float, float]:
    """Bytes of logits of these tokens; and their number for those that are predicted."""
    vocabulary = float(setting.shape.vocabulary)
    return setting.bytes * tokens * vocabulary, predicted * vocabulary


def rows_in_pass(work: Passes, length: float) -> int:
    """Rows in a pass whose rows have this many tokens."""
    if work.kind == "sample":
        return work.batch
    allowed = max(1, int(TOKENS_AT_ONCE // length))
    return min(work.batch, allowed) if work.batch else allowed
