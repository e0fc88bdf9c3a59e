"""The registry: one door for built-ins, installed packages and single files, and it stays cheap to open."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from prefbench import registry
from prefbench.errors import UserError
from prefbench.population import Population
from prefbench.registry import NoOptions, aligner, load_plugins, suggest, task
from support.plugins import PACKAGE, install

pytestmark = pytest.mark.usefixtures("restored")
HEAVY = ("torch", "transformers", "datasets", "scipy", "pandas")


def in_new_process(*args: str, path: tuple[Path, ...] = ()) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, which ends by naming the heavy modules it imported."""
    program = (
        "import sys\nfrom prefbench.cli import main\nsys.argv = ['prefbench', *sys.argv[1:]]\n"
        "try:\n    main()\nfinally:\n"
        "    print('MODULES', *sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), "COLUMNS": "120"}
    command = [sys.executable, "-c", program, *args]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=60)


def imported(done: subprocess.CompletedProcess[str]) -> set[str]:
    line = next(line for line in done.stderr.splitlines() if line.startswith("MODULES"))
    return set(line.split()[1:])


# ----------------------------------------------------------------------------------------- cheapness


@pytest.mark.parametrize("args", [["list", "aligners"], ["show", "imdb_two_group"]])
def test_lists_import_nothing_heavy(args):
    done = in_new_process(*args)
    assert done.returncode == 0, done.stderr
    assert not imported(done) & set(HEAVY)


def test_help_loads_next_to_nothing():
    done = in_new_process("--help")
    assert done.returncode == 0
    assert not imported(done) & {*HEAVY, "pydantic", "numpy", "pandas"}


# -------------------------------------------------------------------------------------------- doors


def test_an_installed_package_is_found_by_its_entry_point(tmp_path):
    install(tmp_path, "prefbench_letters", "prefbench_letters")
    done = in_new_process("list", "tasks", "--json", path=(tmp_path, PACKAGE))
    assert done.returncode == 0, done.stderr
    found = {entry["name"]: entry for entry in json.loads(done.stdout)}
    assert found["letters"]["version"] == 3
    assert found["letters"]["provides"] == ["user_id"]
    assert "imdb_two_group" in found
    assert not imported(done) & set(HEAVY)


def test_a_broken_installed_package_is_named_and_left_out(tmp_path):
    install(tmp_path, "broken", "broken_plugin")
    (tmp_path / "broken_plugin.py").write_text("raise RuntimeError('no\\nluck')\n")
    for args in (["list", "aligners"], ["show", "maxmin"]):
        done = in_new_process(*args, path=(tmp_path,))
        assert done.returncode == 0
        assert "maxmin" in done.stdout
        (warning,) = [line for line in done.stderr.splitlines() if not line.startswith("MODULES")]
        said = "prefbench: warning: plug-in broken (broken_plugin) is left out, it failed to import: "
        assert warning == said + "RuntimeError: no luck"


def test_the_error_about_an_unknown_name_blames_a_broken_package(tmp_path, monkeypatch):
    install(tmp_path, "broken", "broken_plugin")
    (tmp_path / "broken_plugin.py").write_text("import nothing_of_this_name\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert list(load_plugins()) == ["broken (broken_plugin)"]
    with pytest.raises(
        UserError, match=r"unknown task 'mine'.*a plug-in failed to import: broken .*nothing_of"
    ):
        registry.get("task", "mine")


def test_a_file_is_loaded_once(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from prefbench.registry import NoOptions, aligner\n"
        "@aligner('mine')\ndef mine(view, backbone, options: NoOptions):\n    '''Mine.'''\n"
    )
    load_plugins([str(file)])
    first = registry.get("aligner", "mine")
    load_plugins([str(file), f"{tmp_path}/./mine.py"])
    assert registry.get("aligner", "mine") is first
    assert first.summary == "Mine."


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("none.py", None, "no such Python file"),
        ("text.txt", "", "no such Python file"),
        ("syntax.py", "def", "could not be imported: SyntaxError"),
        ("lost.py", "import nothing_of_this_name", "could not be imported: ModuleNotFoundError"),
        ("lines.py", "raise ValueError('one\\ntwo')", "could not be imported: ValueError: one two"),
        ("exit.py", "raise SystemExit(0)", "could not be imported: SystemExit: 0"),
    ],
)
def test_a_file_that_cannot_be_imported_is_an_error_that_names_it(tmp_path, name, text, said):
    file = tmp_path / name
    if text is not None:
        file.write_text(text)
    for _ in range(2):  # the second time must not find half a module
        with pytest.raises(UserError) as caught:
            load_plugins([str(file)])
        assert name in str(caught.value)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


# --------------------------------------------------------------------------------------- decorators


def test_a_task_has_its_keyword_only_arguments_as_options():
    @task("mine", version=2, provides={"group"})
    def mine(data: str, minority_ratio: float, seed: int, *, size: int = 3, name: str) -> None:
        """First line.

        More.
        """

    entry = registry.get("task", "mine")
    assert (entry.version, entry.provides, entry.summary) == (2, {"group"}, "First line.")
    assert list(entry.options.model_fields) == ["size", "name", *Population.model_fields]
    assert entry.options(name="x").model_dump() == {"size": 3, "name": "x", **Population().model_dump()}
    assert entry.options.model_fields["name"].is_required()


def test_a_name_belongs_to_one_module():
    def made(module):
        def policy(view, backbone, options: NoOptions):
            """A policy."""

        policy.__module__ = module
        return policy

    aligner("twice")(made("one"))
    aligner("twice")(made("one"))  # the same module again, as on reload
    with pytest.raises(UserError, match="aligner 'twice' is defined by both one and other"):
        aligner("twice")(made("other"))


def test_a_name_that_is_taken_is_told_to_a_session_at_once(tmp_path):
    """Before anything is loaded: else the built-in aligners would be found to be broken, much later."""
    lines = [
        "import prefbench as pb",
        "try:",
        "    @pb.aligner('dpo')",
        "    def dpo(view, backbone, options: pb.NoOptions): 'Mine.'",
        "except pb.UserError as error:",
        "    print(error)",
        "from prefbench.registry import get, load_plugins",
        "print(load_plugins(), get('aligner', 'dpo').origin.plugin)",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == [
        "aligner 'dpo' is defined by both prefbench_baselines.dpo and __main__: rename one of them.",
        "{} None",
    ], done.stderr


def test_a_registered_function_stands_for_its_name():
    def made(text):
        def policy(view, backbone, options: NoOptions):
            """A policy."""

        policy.__doc__ = text
        return policy

    first = aligner("stands")(made("one"))
    assert registry.name_of("aligner", first) == registry.name_of("aligner", "stands") == "stands"
    aligner("stands")(made("two"))
    with pytest.raises(UserError, match="'policy' is not registered, or another has its name by now"):
        registry.name_of("aligner", first)
    with pytest.raises(UserError, match="aligner 3 is neither a name nor a function"):
        registry.name_of("aligner", 3)


def test_an_aligner_without_typed_options_is_told_what_to_write():
    with pytest.raises(UserError, match="annotate its third argument, `options`"):

        @aligner("untyped")
        def untyped(view, backbone, options):
            """Nothing."""


def test_an_annotation_that_is_not_imported_is_named():
    def lost(view, backbone, options):
        """Nothing."""

    lost.__annotations__ = {"options": "Nowhere"}
    with pytest.raises(UserError, match="an annotation names Nowhere, which is not imported"):
        aligner("lost")(lost)


def test_only_known_columns_can_be_needed():
    with pytest.raises(UserError, match=r"'greedy' names \['labels'\]; what can be needed is"):

        @aligner("greedy", needs={"labels"})
        def greedy(view, backbone, options: NoOptions):
            """Nothing."""


def test_a_near_name_is_suggested_and_otherwise_all_are_listed():
    assert suggest("maxmim", ["maxmin", "dpo"]) == " Did you mean 'maxmin'?"
    assert suggest("zzz", ["maxmin", "dpo"]) == " Known: maxmin, dpo."
    assert suggest("zzz", []) == " Known: none."
    tasks = ["imdb_two_group", "tulu_style", "tulu_personas", "hh_two_group"]
    assert suggest("imbd", tasks) == " Did you mean 'imdb_two_group'?"
    assert suggest("tulu", tasks) == " Did you mean 'tulu_style' or 'tulu_personas'?"


def test_a_task_may_take_its_options_as_one_object():
    class Many(registry.Options):
        size: int = 3
        """How many there are."""

    before = dict(registry._entries)
    try:

        @task("one_object")
        def one_object(data: str, minority_ratio: float, seed: int, options: Many) -> tuple:
            """It says what it was given."""
            return data, minority_ratio, seed, options

        entry = registry.get("task", "one_object")
        assert issubclass(entry.options, Many) and entry.summary == "It says what it was given."
        assert entry.function.__module__ == __name__
        assert entry.function("synthetic", 0.2, 1, size=5) == ("synthetic", 0.2, 1, Many(size=5))
    finally:
        registry._entries.clear()
        registry._entries.update(before)
