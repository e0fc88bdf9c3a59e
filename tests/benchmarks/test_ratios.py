"""The guard of the fast paths, and what fits growth: on made-up times, so that nothing here is timed."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefbench import registry
from prefbench.backbone.language import gpt2


@pytest.fixture(scope="module")
def benchmarks():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
        yield


@pytest.fixture(scope="module")
def ratios(benchmarks):
    import ratios

    return ratios


@pytest.fixture(scope="module")
def races(benchmarks):
    import races

    return races


@pytest.fixture(scope="module")
def growth(benchmarks):
    import growth

    return growth


@pytest.fixture
def stored(ratios, tmp_path):
    """Every fast path recorded as three times as fast."""
    path = tmp_path / "advantages.json"
    path.write_text(json.dumps(dict.fromkeys(ratios.RACES, 3.0)))
    return path


@pytest.fixture
def checked(ratios, stored):
    """Runs the script on made-up ratios: an entry's own one after another, else 4."""

    def checked(*words, **found):
        asked = []

        def measure(name, rounds):
            asked.append((name, rounds))
            values = found.get(name.replace("-", "_"), [])
            found_now = values.pop(0) if values else 4.0
            return ratios.Times([1.0] * rounds, [found_now] * rounds)

        return ratios.main(words, measure, stored), asked

    return checked


def test_every_fast_path_has_a_recorded_advantage_and_nothing_else_has(ratios):
    assert set(json.loads(ratios.RECORDED.read_text())) == set(ratios.RACES)
    assert min(ratios.read_recorded(ratios.RECORDED, ratios.RACES).values()) > 1


@given(advantage=st.floats(1e-3, 1e3))
def test_what_is_needed_is_half_of_the_advantage(ratios, advantage):
    assert ratios.needed(1 + advantage) == pytest.approx(1 + advantage / 2)


def test_a_ratio_is_the_median_of_the_rounds_own_ratios(ratios):
    times = ratios.Times(fast=[1.0, 10.0, 2.0], plain=[3.0, 20.0, 2.0])
    assert times.ratio == 2.0


def test_fast_enough_is_code_zero_after_one_look_at_each(ratios, checked, capsys):
    code, asked = checked("--rounds", "3", dpo_packed=[2.0])  # exactly half of the advantage of 3
    assert (code, asked) == (0, [(name, 3) for name in ratios.RACES])
    out, err = capsys.readouterr()
    assert out.count(" ok ") == len(ratios.RACES) and not err


def test_a_slow_one_is_measured_again_for_longer_before_it_counts(checked, capsys):
    names = "--only", "scoring-packed", "dpo-packed"
    code, asked = checked(*names, "--rounds", "3", dpo_packed=[1.9, 2.1])
    assert (code, asked) == (0, [("scoring-packed", 3), ("dpo-packed", 3), ("dpo-packed", 6)])
    capsys.readouterr()
    code, _ = checked(*names, dpo_packed=[1.9, 1.9])
    out, err = capsys.readouterr()
    assert code == 1
    assert out.count(" slow ") == 1
    assert err == "slower than half the recorded advantage: dpo-packed\n"


def test_recording_replaces_what_was_measured_and_keeps_the_rest(ratios, checked, stored):
    code, _ = checked("--record", "--only", "dpo-packed", dpo_packed=[2.345])
    assert code == 0
    assert json.loads(stored.read_text()) == dict.fromkeys(ratios.RACES, 3.0) | {"dpo-packed": 2.35}
    stored.unlink()
    assert checked("--record")[0] == 0
    assert json.loads(stored.read_text()) == dict.fromkeys(ratios.RACES, 4.0)


def test_what_is_no_faster_is_not_recorded(checked, stored, capsys):
    before = stored.read_text()
    code, _ = checked("--record", dpo_packed=[1.0])
    assert (code, stored.read_text()) == (1, before)
    assert "nothing was written: dpo-packed" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"dpo-packed": 1}', '{"dpo-packed": "fast"}'])
def test_a_bad_record_is_one_line_and_code_two(checked, stored, capsys, content):
    stored.unlink() if content is None else stored.write_text(content)
    code, asked = checked("--only", "dpo-packed")
    err = capsys.readouterr().err
    assert (code, asked) == (2, [])
    assert err.startswith("error: ") and err.count("\n") == 1 and "--record" in err


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("ratios", "--only nothing"),
        ("ratios", "--rounds 0"),
        ("growth", "--only nothing"),
        ("growth", "--point nothing 3"),
        ("growth", "--point width none"),
        ("growth", "--json nowhere/at/all.json"),
    ],
)
def test_nonsense_is_one_line_and_code_two(ratios, growth, capsys, script, words):
    with pytest.raises(SystemExit) as ended:
        {"ratios": ratios, "growth": growth}[script].main(words.split())
    err = capsys.readouterr().err
    assert ended.value.code == 2
    assert err.startswith("error: ") and err.count("\n") == 1


def test_sides_that_do_not_agree_are_not_timed(ratios, races, monkeypatch, stored, capsys):
    def wrong(folder):
        races.agree([1.0, 2.0], [1.0, 2.5], 0.4)

    monkeypatch.setitem(races.RACES, "dpo-packed", wrong)
    assert ratios.main(["--only", "dpo-packed"], path=stored) == 1
    assert capsys.readouterr().err == "error: dpo-packed: the two sides differ by 0.5\n"
    with pytest.raises(races.Apart):
        races.agree([math.nan], [math.nan], 1)
    with pytest.raises(races.Apart):
        races.same_responses([[1], [2]], [[1], [3]])


def test_the_plain_side_is_run_by_transformers_and_the_fast_one_is_not(races, tmp_path):
    model = races.backbone_of(races.NANO, tmp_path).reference.model
    assert gpt2.applies(model)
    assert not races.padded(lambda: gpt2.applies(model))()
    with pytest.raises(ZeroDivisionError):
        races.padded(lambda: 1 / 0)()
    assert gpt2.applies(model)


def test_generate_of_transformers_draws_our_responses_from_our_numbers(races, tmp_path):
    assert len(races.sampling_generate(tmp_path).fast()) == races.ROWS


# ----------------------------------------------------------------------------------------------------- growth


@given(
    power=st.floats(-3, 3),
    scale=st.floats(1e-3, 1e3),
    sizes=st.lists(st.integers(1, 10**6), min_size=3, max_size=8, unique=True),
)
def test_the_exponent_of_an_exact_power_law_is_its_power(growth, power, scale, sizes):
    found = growth.exponent(sizes, [scale * size**power for size in sizes])
    assert found.value == pytest.approx(power, abs=1e-6)
    assert found.error == pytest.approx(0, abs=1e-6)


def test_an_exponents_error_by_hand(growth):
    # y = 0, 1, 1 at x = 0, 1, 2: slope 1/2, squared residuals 1/36 + 4/36 + 1/36 with one degree of freedom.
    found = growth.exponent([1, math.e, math.e**2], [1, math.e, math.e])
    assert found == pytest.approx((1 / 2, math.sqrt(1 / 6 / 2)))


def test_what_is_zero_somewhere_has_no_exponent(growth):
    assert growth.exponent([1, 2, 4], [0.0, 1.0, 2.0]) is None


def test_points_are_repeated_in_reverse_and_the_least_of_each_figure_counts(growth, tmp_path, capsys):
    asked = []

    def measure(factor, size):
        asked.append(size)
        again = asked.count(size) > 1
        return growth.Point(size**2 * (1 if again else 3), size * (5e6 if again else 1e6))

    path = tmp_path / "growth.json"
    assert growth.main(["--only", "width", "--json", str(path)], measure) == 0
    ladder = list(growth.FACTORS["width"].ladder)
    assert asked == ladder + ladder[::-1]
    found = json.loads(path.read_text())
    assert found["points"]["width"] == [{"seconds": n**2, "bytes": n * 1e6} for n in ladder]
    row = capsys.readouterr().out.splitlines()[-1]
    assert "2.00 ± 0.00" in row and "1.00 ± 0.00" in row and "32, 64, 128, 256" in row


def test_seconds_of_a_run_are_those_of_its_outermost_stages_but_the_reference(growth, monkeypatch):
    monkeypatch.setattr(growth.time, "process_time", iter([1.0, 10.0, 11.0, 20.0]).__next__)
    clock = growth.Clock()
    clock.begin("reference", False)
    clock.end("reference", 0.0)
    clock.begin("policy", False)
    clock.begin("rewards", False)
    clock.end("rewards", 0.0)
    clock.end("policy", 0.0)
    assert clock.seconds == 20.0 - 10.0


def test_a_sweep_runs_as_many_cells_as_it_is_asked_for(growth, tmp_path):
    registry.load_plugins()
    growth.sweep(tmp_path / "runs", 2)
    assert len(list((tmp_path / "runs").glob("*/record.json"))) == 2


@pytest.mark.parametrize("aligner", ["dpo", "maxmin"])
def test_a_tiny_run_has_stages_that_take_time(growth, tmp_path, aligner):
    registry.load_plugins()
    assert {"dpo": growth.tiny_dpo, "maxmin": growth.tiny_maxmin}[aligner](tmp_path) > 0


def test_a_point_that_fails_says_why_in_one_line(growth):
    with pytest.raises(SystemExit) as ended:
        growth.elsewhere("nothing", 1)
    assert str(ended.value.code).startswith("error: nothing 1: the factors are")
