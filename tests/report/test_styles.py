"""Looks of aligners: they follow from names, and lines of one figure are told apart."""

from prefbench.registry import placed
from prefbench.report.styles import COLOURS, GREYS, PALETTE, styles_of

MANY = {f"learner_{i}": "learner" for i in range(26)}


def looks(found):
    return {(style.colour, style.marker, style.dash) for style in found.values()}


def test_28_lines_all_look_different():
    found = styles_of({**MANY, "maxmin": "learner", "dpo": "learner"})
    assert len(looks(found)) == 28
    assert len({(look.colour, look.dash) for look in found.values()}) == 28
    assert len({(look.marker, look.dash) for look in found.values()}) == 28


def test_seven_learners_have_a_colour_each_and_what_stands_beside_them_is_grey():
    names = dict(list(MANY.items())[:7]) | {"base": "floor", "sky": "ceiling", "told": "gold"}
    found = styles_of(names)
    assert {found[name].colour for name in MANY if name in found} == set(COLOURS)
    assert [found[name].colour for name in ("base", "sky", "told")] == [*GREYS.values()]
    assert len(looks(found)) == 10 and all(style.colour in PALETTE for style in found.values())
    assert all(found[name].dash for name in ("base", "sky", "told"))


def test_looks_follow_from_names_and_not_from_who_else_was_run():
    """Nobody that comes later, floor, ceiling or variant, changes the looks of those before."""
    first = [entry.name for entry in placed("aligner", None)]
    alone = {name: styles_of({name: "learner"})[name] for name in first}
    assert len({style.colour for style in alone.values()}) == len(first)
    more = {**dict.fromkeys(first, "learner"), **MANY, "base": "floor"}
    found = styles_of(dict(reversed(more.items())), [f"{first[0]} (beta=1)", f"{first[0]} (beta=2)"])
    assert {name: found[name] for name in first} == alone
    assert (
        styles_of({"learner_3": "learner"})["learner_3"]
        == styles_of({"learner_3": "learner", "z": "floor"})["learner_3"]
    )


def test_the_first_line_of_an_aligner_looks_as_the_aligner_does():
    lines = ["maxmin (beta=1)", "maxmin (beta=2)", "dpo"]
    found = styles_of({"maxmin": "learner", "dpo": "learner"}, lines)
    assert found["maxmin (beta=1)"] == found["maxmin"]
    assert len(looks({name: found[name] for name in lines})) == 3
