"""Generated preference data: who is asked what, what the files hold, and what happens when it is stopped."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from prefbench.chat.server import Server
from prefbench.data.generate import Labeller, ServerWriter, Writer, generate
from prefbench.data.personas import read_personas
from prefbench.errors import PrefbenchError, UserError
from prefbench.evaluate.judge import Judge
from prefbench.problem.problem import with_instruction
from support.judge_server import MODEL, Failure, JudgeServer, Said, in_turn, serving, sides

KEY = "sk-secret-0123456789abcdef"
VARIABLE = "PREFBENCH_TEST_KEY"
PERSONAS = {"P2A": "Be brief.", "P2B": "Be long.", "P3A": "Be loud."}
PROMPTS = ["What is a fjord?", "Who was Ibsen?", "Where is Bergen?"]


class Wordy(Writer):
    """A writer who obeys: few words, many words or capitals."""

    name = "wordy/1"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def write(self, prompts: Sequence[str]) -> list[str]:
        self.asked += prompts
        return [self.answer(prompt) for prompt in prompts]

    def answer(self, prompt: str) -> str:
        told, _, asked = prompt.partition(". ")
        said = f"about {asked[:8]}"
        return {"f": said, "g": f"{said} and so on", "d": said.upper()}[told[-1]]


class Taste(Labeller):
    """Prefers short, long or loud answers; of two that are loud, or not, neither."""

    def __init__(self, instruction: str) -> None:
        self.instruction = instruction
        self.name = f"taste/1:{instruction}"
        self.asked: list[tuple[str, str, str]] = []

    def score(self, text: str) -> float:
        return {"f": -len(text), "g": len(text), "d": text.isupper()}[self.instruction[-2]]

    def compare(self, prompts, first, second):
        self.asked += zip(prompts, first, second, strict=True)
        ours, theirs = (np.array([self.score(text) for text in texts]) for texts in (first, second))
        return ours, theirs

    def report(self):
        return {"comparisons": len(self.asked)}


def rows(folder: Path, code: str) -> list[dict[str, str]]:
    return json.loads((folder / "rm_training" / f"{code}.json").read_text())


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_persona_labels_every_pair_of_personas(tmp_path):
    writer, judges = Wordy(), []

    def judge(instruction: str) -> Taste:
        judges.append(Taste(instruction))
        return judges[-1]

    made = generate([*PROMPTS, PROMPTS[0]], PERSONAS, writer, judge, tmp_path / "data")
    assert writer.asked == [with_instruction(p, told) for told in PERSONAS.values() for p in PROMPTS]
    brief, long, loud = (
        [writer.answer(with_instruction(p, told)) for p in PROMPTS] for told in PERSONAS.values()
    )
    shown = [
        (PROMPTS[index], *pair)
        for index in range(3)
        for pair in ((brief[index], long[index]), (brief[index], loud[index]), (long[index], loud[index]))
    ]
    assert [taste.asked for taste in judges] == [shown] * 3, "the bare prompt, without anybody's instruction"
    # Brief and loud are equally long, a tie for P2A and P2B; neither brief nor long is loud, a tie for P3A.
    assert rows(tmp_path / "data", "P2A") == [
        {"user_input": p, "completion_a": better, "completion_b": long[index]}
        for index, p in enumerate(PROMPTS)
        for better in (brief[index], loud[index])
    ]
    assert rows(tmp_path / "data", "P2B")[0] == {
        "user_input": PROMPTS[0],
        "completion_a": long[0],
        "completion_b": brief[0],
    }
    assert {row["completion_a"] for row in rows(tmp_path / "data", "P3A")} == set(loud)
    assert {code: (said["rows"], said["ties"]) for code, said in made["personas"].items()} == dict.fromkeys(
        PERSONAS, (6, 3)
    )
    assert made["prompts"] == 3 and made["repeated_prompts"] == 1
    assert made == json.loads((tmp_path / "data" / "generation.json").read_text())
    for name, sum_ in made["files"].items():
        assert hashlib.sha256((tmp_path / "data" / name).read_bytes()).hexdigest() == sum_
    assert everything(tmp_path / "data").keys() == {*made["files"], "generation.json"}
    assert json.loads((tmp_path / "data" / "answers" / "P2B.json").read_text())[1] == {
        "user_input": PROMPTS[1],
        "completion": long[1],
    }
    assert [path.name for path in tmp_path.iterdir()] == ["data"], "nothing is left beside it"


def test_the_folder_reads_as_personalized_soups(tmp_path):
    generate(PROMPTS, PERSONAS, Wordy(), Taste, tmp_path / "data")
    read = read_personas(str(tmp_path / "data"), ["P2A", "P3A"]).rows
    assert read.groupby("group").size().to_dict() == {"P2A": 6, "P3A": 6}
    expected = [tuple(row.values()) for code in ("P2A", "P3A") for row in rows(tmp_path / "data", code)]
    assert list(read[["prompt", "chosen", "rejected"]].itertuples(index=False, name=None)) == expected


def test_only_the_pairs_asked_for_are_labelled(tmp_path):
    taste = Taste(PERSONAS["P3A"])
    made = generate(PROMPTS, PERSONAS, Wordy(), lambda _: taste, tmp_path / "data", pairs=[("P3A", "P2A")])
    assert made["pairs"] == [["P3A", "P2A"]]
    assert len(taste.asked) == 3 * 3, "three judges, who are one here, on a pair for each prompt"
    assert all(first.isupper() and not second.isupper() for _, first, second in taste.asked)


def test_the_same_call_again_changes_nothing(tmp_path):
    made = generate(PROMPTS, PERSONAS, Wordy(), Taste, tmp_path / "data")
    before, idle = everything(tmp_path / "data"), Wordy()
    assert generate(PROMPTS, PERSONAS, idle, Taste, tmp_path / "data") == made
    assert everything(tmp_path / "data") == before and not idle.asked


def test_what_was_stopped_continues(tmp_path):
    class Stopped(Taste):
        def compare(self, prompts, first, second):
            if "long" in self.instruction:
                raise KeyboardInterrupt
            return super().compare(prompts, first, second)

    with pytest.raises(KeyboardInterrupt):
        generate(PROMPTS, PERSONAS, Wordy(), Stopped, tmp_path / "data")
    assert not (tmp_path / "data").exists()
    idle = Wordy()
    generate(PROMPTS, PERSONAS, idle, Taste, tmp_path / "data")
    assert not idle.asked, "the answers were there"
    generate(PROMPTS, PERSONAS, Wordy(), Taste, tmp_path / "other")
    ours, theirs = everything(tmp_path / "data"), everything(tmp_path / "other")
    assert ours.pop("generation.json") and theirs.pop("generation.json")
    assert ours == theirs


def test_what_another_call_left_is_not_taken(tmp_path):
    class Stopped(Wordy):
        def write(self, prompts):
            if self.asked:
                raise KeyboardInterrupt
            return super().write(prompts)

    with pytest.raises(KeyboardInterrupt):
        generate(PROMPTS, PERSONAS, Stopped(), Taste, tmp_path / "data")
    writer = Wordy()
    generate(PROMPTS, PERSONAS | {"P2A": "Be quite brief."}, writer, Taste, tmp_path / "data")
    assert len(writer.asked) == 9


@pytest.mark.parametrize("what", ["file", "foreign", "other", "altered"])
def test_a_folder_with_something_else_in_it_is_refused(tmp_path, what):
    folder = tmp_path / "data"
    if what == "file":
        folder.write_text("")
    elif what == "foreign":
        folder.mkdir()
        (folder / "thesis.txt").write_text("years of work")
    else:
        generate(PROMPTS[: 2 if what == "other" else 3], PERSONAS, Wordy(), Taste, folder)
    if what == "altered":
        (folder / "rm_training" / "P2A.json").write_text("[]")
    before = everything(tmp_path)
    writer = Wordy()
    with pytest.raises(UserError, match="name a new folder"):
        generate(PROMPTS, PERSONAS, writer, Taste, folder)
    assert everything(tmp_path) == before and not writer.asked


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        generate(PROMPTS, PERSONAS, Wordy(), Taste, tmp_path / "file" / "data")


def test_an_empty_folder_will_do(tmp_path):
    (tmp_path / "data").mkdir()
    assert generate(PROMPTS, PERSONAS, Wordy(), Taste, tmp_path / "data")["prompts"] == 3


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"prompts": []}, "needs prompts"),
        ({"prompts": ["a", " "]}, "none of them empty"),
        ({"personas": {"P1": "x"}}, "two or more"),
        ({"personas": {"P1": "x", "p1": "y"}}, "more than capitals"),
        ({"personas": {"P1": "x", "P2": "\n"}}, "P2 has no instruction"),
        *(
            ({"personas": {"P1": "x", code: "y"}}, "cannot be a file name")
            for code in ("../P2", "", ".", "a/b", "P2\n", "é", "x" * 65, "con.json", "-o")
        ),
        ({"pairs": []}, "one pair of personas or more"),
        ({"pairs": [("P2A", "P2B"), ("P2B", "P2A")]}, "each once"),
        ({"pairs": [("P2A", "P2A")]}, "two different personas"),
        ({"pairs": [("P2A", "P9")]}, "two different personas"),
    ],
)
def test_arguments_that_make_no_sense_leave_nothing_behind(tmp_path, change, line):
    arguments = {"prompts": PROMPTS, "personas": PERSONAS, "pairs": None} | change
    with pytest.raises(UserError, match=line) as error:
        generate(writer=Wordy(), judge_factory=Taste, folder=tmp_path / "data", **arguments)
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


def test_a_writer_that_leaves_prompts_out_is_an_error(tmp_path):
    class Lazy(Wordy):
        def write(self, prompts):
            return super().write(prompts)[1:]

    with pytest.raises(PrefbenchError, match="2 answers to 3 prompts"):
        generate(PROMPTS, PERSONAS, Lazy(), Taste, tmp_path / "data")


# --- models on a server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[JudgeServer]:
    """Writes as it is told, and judges by the instruction that it is given."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.001)

    def mind(message: str) -> str:
        if "RESPONSE A" not in message:
            return Wordy().answer(message)
        _, a, b = sides(message)
        ours, theirs = (Taste(message.split("\n")[2]).score(text) for text in (a, b))
        return f"VERDICT: {'TIE' if ours == theirs else 'A' if ours > theirs else 'B'}"

    with serving(mind) as state:
        yield state


def server_for(state: JudgeServer, folder: Path, **more) -> Server:
    return Server(state.url, MODEL, folder / "cache", **more)


def test_written_and_judged_on_a_server(server, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, KEY)
    at = server_for(server, tmp_path, api_key_env=VARIABLE)
    writer = ServerWriter(server_for(server, tmp_path, api_key_env=VARIABLE, role="writer"))
    made = generate(PROMPTS, PERSONAS, writer, lambda wish: Judge(at, wish), tmp_path / "data")
    generate(PROMPTS, PERSONAS, Wordy(), Taste, tmp_path / "by_hand")
    for code in PERSONAS:
        assert rows(tmp_path / "data", code) == rows(tmp_path / "by_hand", code)
    assert made["writer"]["name"] == writer.name and made["writer"]["report"]["requests"] == 9
    # Three prompts, three pairs, two orders.
    assert [said["report"]["calls"] for said in made["personas"].values()] == [18, 18, 18]
    assert len(server.chats) == 9 + 3 * 18
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert str(server.url) not in (tmp_path / "data" / "generation.json").read_text()


def test_a_server_that_fails_is_asked_for_the_rest(server, tmp_path):
    at = server_for(server, tmp_path, retries=0, concurrency=1)
    good, left = server.mind, [True] * 30
    server.mind = lambda message: good(message) if left and left.pop() else Failure(500)
    with pytest.raises(PrefbenchError, match="3 of 18 verdicts are kept"):
        generate(PROMPTS, PERSONAS, ServerWriter(at), lambda wish: Judge(at, wish), tmp_path / "data")
    server.mind = good
    server.requests.clear()
    generate(PROMPTS, PERSONAS, ServerWriter(at), lambda wish: Judge(at, wish), tmp_path / "data")
    assert len(server.chats) == 9 + 3 * 18 - 30


def test_a_server_that_is_not_there_is_known_before_anything_is_written(tmp_path):
    at = Server("http://127.0.0.1:9/v1", MODEL, tmp_path / "cache", role="writer")
    with pytest.raises(UserError, match=r"writer at .* cannot be reached .* mend writer_url"):
        generate(PROMPTS, PERSONAS, ServerWriter(at), Taste, tmp_path / "data")
    assert not list(tmp_path.iterdir())


def test_a_writer_on_a_server_counts_refused_and_cut_answers(server, tmp_path):
    at = server_for(server, tmp_path, concurrency=1)
    server.mind = in_turn(Said(None, refusal="no"), Said("and then", finish="length"), "done \ud800")
    writer = ServerWriter(at, temperature=0.7, max_tokens=11)
    assert writer.write(["a", "b", "c", "a"]) == ["", "and then", "done ?", ""]
    report = writer.report()
    assert (report["answers"], report["refused"], report["cut"], report["requests"]) == (3, 1, 1, 3)
    assert {(r.body["temperature"], r.body["max_tokens"]) for r in server.chats} == {(0.7, 11)}
    assert [request.message for request in server.chats] == ["a", "b", "c"]
    again = ServerWriter(at, temperature=0.7, max_tokens=11)
    assert again.write(["b", "a"]) == ["and then", ""] and len(server.chats) == 3
    assert again.report()["cut"] == 1


@pytest.mark.parametrize("options", [{"temperature": -0.1}, {"temperature": float("nan")}, {"max_tokens": 0}])
def test_a_writer_with_options_that_make_no_sense(server, tmp_path, options):
    with pytest.raises(UserError, match="a writer needs"):
        ServerWriter(server_for(server, tmp_path), **options)


def test_a_key_that_the_server_sends_back_is_taken_out_of_answers(server, tmp_path, monkeypatch):
    server.mind = lambda _: f"an EMPTY room with {KEY} in it"
    writer = ServerWriter(server_for(server, tmp_path, api_key_env=VARIABLE))
    monkeypatch.setenv(VARIABLE, KEY)
    assert writer.write(["a"]) == ["an EMPTY room with [key] in it"]
    monkeypatch.setenv(VARIABLE, "EMPTY")  # what servers that need no key are often given
    assert writer.write(["b"])[0].startswith("an EMPTY room")
