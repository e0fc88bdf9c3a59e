"""What `prefbench check` finds of aligners whose policies depend on whom they answer."""

import itertools

import pytest

import prefbench as pb
from prefbench import registry
from prefbench.tools.check.check import check
from support.personal import own_reward

pytestmark = pytest.mark.usefixtures("restored")


def found(function, sees=frozenset({"pairs"})):
    """Statements that did not pass, with their status and detail, on a world."""
    name = function.__name__
    with registry.lent():
        pb.aligner(name, sees=sees, backbones={"finite"})(function)
        findings = check(registry.get("aligner", name))
    said = "finite: whoever nothing is known of is given the default"
    assert function is plain or said in [finding.words for finding in findings]
    return {f.words.removeprefix("finite: "): (f.status, f.detail) for f in findings if f.status != "passed"}


def honest(view, backbone, options: pb.NoOptions):
    """A reward and a policy of her own."""
    return own_reward(view, backbone, registry.get("aligner", "maxmin").options())


def exchanged(view, backbone, options: pb.NoOptions):
    """It takes what she rejects for what she likes."""
    made = honest(view, backbone, options)

    def adapt(context):
        pairs = context.pairs
        if pairs is None:
            return made.default
        return made.adapt(pb.Context(pb.Pairs(pairs.prompts, pairs.rejected, pairs.chosen)))

    return pb.Personal(made.default, adapt)


def forgetful(view, backbone, options: pb.NoOptions):
    """Every second person is answered as if nothing were known of her."""
    made = honest(view, backbone, options)
    turn = itertools.count()
    return pb.Personal(made.default, lambda context: made.default if next(turn) % 2 else made.adapt(context))


def eager(view, backbone, options: pb.NoOptions):
    """It has a policy for nobody that is not its default."""
    made = honest(view, backbone, options)
    train = view.preferences["train"][:10]
    some = made.adapt(pb.Context(pb.Pairs(train["prompt"], train["chosen"], train["rejected"])))
    return pb.Personal(made.default, lambda context: made.adapt(context) if context.pairs else some)


def plain(view, backbone, options: pb.NoOptions):
    """One policy for everybody."""
    return honest(view, backbone, options).default


def test_an_honest_one_passes():
    assert found(honest) == {}


def test_labels_that_are_taken_the_wrong_way_round_are_named():
    faults = found(exchanged)
    status, detail = faults.pop("nobody else's labels serve a person better")
    assert faults == {} and status == "failed" and "chosen and rejected are not exchanged" in detail


def test_a_policy_that_differs_for_the_same_context_is_named_with_whose_it_is():
    status, detail = found(forgetful)["the same context gives the same policy"]
    assert status == "failed" and detail.startswith("asked again for person ") and "pairs, adapt" in detail


def test_a_policy_for_nobody_that_is_not_the_default_is_found():
    status, detail = found(eager)["whoever nothing is known of is given the default"]
    assert status == "failed" and detail.startswith("for an empty context adapt says other things")


def test_what_it_sees_and_makes_no_use_of_is_named():
    faults = found(honest, frozenset({"pairs", "user_id", "instruction"}))
    assert faults == {
        f"makes use of the {name} that it sees": (
            "warned",
            "everybody's policy is the same without it: declare less.",
        )
        for name in ("instruction", "user id")
    }
    status, detail = found(plain)["its policy depends on what it sees"]
    assert status == "warned" and "return a Personal, or leave sees out" in detail
