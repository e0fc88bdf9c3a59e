"""The stage benchmarks: what they count is what is computed, and the table divides it right."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from prefbench.backbone.language import gpt2
from prefbench.backbone.language.forward import logprobs
from prefbench.backbone.language.tokens import collate

ROWS, PROMPT, RESPONSE = 16, 8, 24


@pytest.fixture(autouse=True)
def folder(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))


@pytest.fixture
def backbone(tmp_path):
    from setting import SIZES, backbone_of

    return backbone_of(SIZES["nano"], tmp_path)


# --------------------------------------------------------------------------------------------------- counting


@pytest.mark.parametrize("wanted", ["predictions", "tokens"])
def test_counted_arithmetic_is_what_is_computed_but_for_six_percent(backbone, wanted):
    """The floor leaves out what nobody needs: attention to later tokens, queries, a text's last token."""
    from setting import SIZES, forward_flops

    rng, model = np.random.default_rng(0), backbone.trainable_copy(0)
    prompts, responses = (rng.integers(2, 1024, (ROWS, n)).tolist() for n in (PROMPT, RESPONSE))
    batch = collate(prompts, responses, torch.device("cpu"))
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as forward:
        if wanted == "predictions":
            result = logprobs(model, batch)
        else:
            result = gpt2.states(model.transformer, batch.packed, batch.packed.response)
    with FlopCounterMode(display=False) as backward:
        result.sum().backward()
    counted = forward_flops(SIZES["nano"], [PROMPT] * ROWS, [[RESPONSE]] * ROWS, wanted)
    assert 0.94 * forward.get_total_flops() < counted <= forward.get_total_flops()
    assert backward.get_total_flops() == 2 * forward.get_total_flops()


@pytest.mark.parametrize("wanted", ["predictions", "tokens", "last"])
def test_another_response_adds_its_own_tokens_only(wanted):
    from setting import SIZES, forward_flops

    def flops(*responses):
        return forward_flops(SIZES["gpt2"], [5], [responses], wanted)

    assert flops(9, 7, 3) - flops(9, 7) == flops(9, 3) - flops(9)
    assert flops(9) < flops(9, 7) < flops(9) + flops(7)


def test_decoding_reads_the_weights_in_every_step_and_the_cache_before_it():
    from setting import SIZES, decoding_bytes

    size = replace(SIZES["nano"], layers=2, width=10, vocabulary=100)
    weights = 2 * 12 * 10 * 10 + 100 * 10  # 3,400
    cache = 2 * 2 * 10 * (5 + 6)  # keys and values of two layers, before the first and the second token
    assert decoding_bytes(size, [5], [3]) == 4 * (3 * weights + cache)
    assert decoding_bytes(size, [5, 9], [3, 1]) == decoding_bytes(size, [5], [3])


# ------------------------------------------------------------------------------------------------------ texts


def test_pairs_have_as_many_tokens_as_the_size_says_and_nothing_ends_early(backbone):
    from setting import SIZES, endings, pairs_of

    size, codec = SIZES["nano"], backbone.codec
    pairs = pairs_of(size)
    prompts = codec.prompts(pairs.prompts)
    assert [len(ids) for ids in prompts] == [len(text.split()) for text in pairs.prompts]
    assert {len(ids) for ids in prompts} == set(range(size.prompt[0], size.prompt[1] + 1))
    assert not endings(size) & {ids[-1] for ids in prompts}
    for texts in (pairs.chosen, pairs.rejected):
        responses = codec.responses(texts)
        assert [len(ids) for ids in responses] == [len(text.split()) + 1 for text in texts]
        assert {len(ids) for ids in responses} == set(range(size.response[0] + 1, size.response[1] + 1))
        assert not endings(size) & {token for ids in responses for token in ids[:-1]}
        assert codec.decode(responses) == [text.removeprefix(" ") for text in texts]


# ------------------------------------------------------------------------------------------------------ table


RATES = [
    {"what": "product", "size": "", "shape": [8, 8, 8], "before": 4e9, "after": 5e9},
    {"what": "product", "size": "nano", "shape": [2, 4, 16], "before": 20e9, "after": 10e9},
    {"what": "product", "size": "gpt2", "shape": [2, 8, 32], "before": 80e9, "after": 90e9},
    {"what": "read", "size": "", "before": 2e9, "after": 1e9},
]


def stored(path, *stages):
    entries = [
        {
            "stats": {"median": seconds},
            "extra_info": {"unit": "rows", "rates": RATES, "peak_memory": 2e6, **info},
        }
        for seconds, info in stages
    ]
    found = {"machine_info": {"cpu": {"brand_raw": "A Chip"}, "machine": "x"}, "datetime": "2025-01-02T03:04"}
    path.write_text(json.dumps({**found, "benchmarks": entries}))
    return str(path)


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_shares_are_the_longer_floor_at_the_best_rates_over_the_median(tmp_path, capsys):
    import table

    training = {"stage": "training", "size": "nano", "items": 10, "tokens": 3000, "flops": 10e9}
    decoding = {"stage": "decoding", "size": "gpt2", "items": 1, "tokens": 8, "flops": 9e9, "bytes": 1e9}
    bootstrap = {"stage": "bootstrap", "size": "", "items": 1e6}
    table.main([stored(tmp_path / "found.json", (2.0, training), (2.5, decoding), (0.5, bootstrap))])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "A Chip, one thread, 2025-01-02:"
    assert cells(lines[5]) == ["product of 2 x 4 x 16 (nano), GFLOP/s", "20", "10"]
    assert cells(lines[7]) == ["reading memory, GB/s", "2", "1"]
    # 10 GFLOP at 20 GFLOP/s; 1 GB at 2 GB/s, more than 9 GFLOP at 90 GFLOP/s.
    assert [cells(line) for line in lines[11:]] == [
        ["training", "nano", "2", "5 rows", "1,500", "2.0 MB", "10", "", "0.5", "arithmetic", "25%"],
        ["decoding", "gpt2", "2.5", "0.4 rows", "3.2", "2.0 MB", "9", "1", "0.5", "memory", "20%"],
        ["bootstrap", "", "0.5", "2,000,000 rows", "", "2.0 MB", "", "", "", "", ""],
    ]


@pytest.mark.parametrize("content", [None, "no JSON", "[]", '{"benchmarks": []}'])
def test_another_file_is_refused_in_one_line(tmp_path, capsys, content):
    import table

    path = tmp_path / "other.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SystemExit, match="2"):
        table.main([str(path)])
    said = capsys.readouterr().err
    assert said.startswith(f"error: '{path}' is no file") and said.count("\n") == 1
