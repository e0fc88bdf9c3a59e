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
    length, vocabulary = prompt + response, setting.shape.vocabulary
    kept, layer = setting.activations(rows * length, length, work.all_states)
    gradients = float(setting.trained * setting.trained_bytes)
    # Of a batch in several parts the gradients of the first ones are there; else they come as activations go.
    waiting = gradients if work.batch > rows else 0.0
    if work.vocabulary:
        # Of each response token, in float32: the log-softmax and two gradients.
        yield {"gradients": waiting, "activations": kept, "logits": 12.0 * rows * response * vocabulary}
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
        # Of each response token: the logits, and in float32 themselves and their log-softmax.
        each = float(rows * response * shape.vocabulary)
        wide = each * (setting.bytes if setting.bytes != 4 else 0)
        together = _product(each, work, setting) if work.product > 1 else wide
        yield {"activations": states, "logits": together + 8 * each}


def _sampling(work: Passes, setting: ModelSetting, rows: int, prompt: int, response: int) -> Iterator[Moment]:
    shape = setting.shape
    read = -(-rows // work.drawn)  # each prompt is read once
    each = float(read * shape.vocabulary)  # logits of the first token
    whole = _product(each, work, setting) if work.product > 1 else setting.bytes * each
    # Logits, and in float32 the probabilities, and those in blocks.
    drawing = (setting.bytes + 8.0) * rows * shape.vocabulary
    first = setting.cache(read, prompt) * work.product
    yield {"activations": setting.inside(read * prompt, work.held > 0), "key-value cache": first}
    yield {"logits": whole + drawing, "key-value cache": first * rows / read}
    # A layer's longer cache is written before the shorter one goes.
    full = setting.cache(rows, prompt + response - 1) * work.product  # nothing follows the last token
    yield {"logits": drawing, "key-value cache": full * (1 + 1 / shape.layers)}


def _product(logits: float, work: Passes, setting: ModelSetting) -> float:
    """Bytes of so many logits of models that are multiplied: each one's, and twice in float32."""
    return work.product * logits * (setting.bytes + 8)


def rows_in_pass(work: Passes, length: float) -> int:
    """Rows in a pass whose rows have this many tokens."""
    if work.kind == "sample":
        return work.batch
    allowed = max(1, int(TOKENS_AT_ONCE // length))
    return min(work.batch, allowed) if work.batch else allowed
