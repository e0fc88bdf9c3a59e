"""How amounts, ages, durations and other people's words are shown."""

import pytest

from prefbench.text import (
    clock,
    message_line,
    message_or_type,
    one_line,
    show_age,
    show_bytes,
    show_count,
    show_hours,
)


def test_sizes_and_ages_are_readable():
    assert [show_bytes(n) for n in (0, 999, 1000, 1_234_567, 10**13)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "1.2 MB",
        "10.0 TB",
    ]
    assert [show_age(s) for s in (None, -1, 59, 60, 7200, 86400 * 40)] == ["", "0s", "59s", "1m", "2h", "40d"]


@pytest.mark.parametrize(
    ("least", "most", "text"),
    [
        (0.001, 0.002, "1 min"),
        (0.1, 0.5, "6 to 30 min"),
        (0.5, 1.25, "0.5 to 1.2 h"),
        (12, 30.4, "12 to 30 h"),
    ],
)
def test_hours_are_shown_as_people_say_them(least, most, text):
    assert show_hours(least, most) == text


def test_counts_are_shown_short():
    assert [show_count(n) for n in (0, 999, 6.74e9, 32000)] == ["0", "999", "6.74 G", "32 k"]
    assert show_bytes(13.48e9) == "13.5 GB"
    amounts = (300, 1 << 10, 128 << 10, 1 << 20, 16 << 20, 3 << 30, 5000 << 30)
    shown = ["300 B", "1 KiB", "128 KiB", "1 MiB", "16 MiB", "3 GiB", "5e+03 GiB"]
    assert [show_bytes(n, binary=True) for n in amounts] == shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (9.94, "9.9 s"), (9.96, "0:10"), (59.6, "1:00"), (3599.7, "1:00:00"), (3661, "1:01:01")],
)
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_no_text_of_others_redraws_the_screen():
    assert one_line(" a\r\n\x1b[2Jb\u2028c\t") == r"a \x1b[2Jb c"


def test_errors_are_told_on_one_line():
    assert message_line(ValueError("a\n  b")) == "a b"
    assert message_line(ValueError("a" * 201)) == "a" * 200
    assert message_line(ValueError()) == ""
    assert message_or_type(ValueError("a\n  b")) == "a b"
    assert message_or_type(ValueError()) == "ValueError"
    assert message_or_type(ValueError("a" * 160)) == "a" * 160
    assert message_or_type(ValueError("a" * 161)) == "a" * 157 + "..."
