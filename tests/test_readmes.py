"""The READMEs: short where it should be, no dead link, and every command, example, table and named test is real."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

import jitwarmup
from jitwarmup.events.schema import readme_table

ROOT = Path(__file__).parent.parent
FOLDERS = ("examples", "jitwarmup", "tests")
PAGES = [ROOT / "README.md", *sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("README.md"))]
README = PAGES[0].read_text(encoding="utf-8")
OF_THE_FOLDER = {"jitwarmup/integrations/sweep/README.md": "tests/integrations"}  # where tests without a folder live


def named(path):
    return path.relative_to(ROOT).as_posix()


every_page = pytest.mark.parametrize("page", PAGES, ids=named)


def blocks(language, text):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def without_code(text):
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page):
    """The names that a forge gives to the headings of a page."""
    for heading in re.findall(r"^#+ (.*)$", without_code(page.read_text(encoding="utf-8")), re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def links(text):
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", without_code(text)) if "://" not in link]


def is_dead(page, link):
    place, _, anchor = link.partition("#")
    target = (page.parent / place).resolve() if place else page
    return not target.exists() or bool(anchor and anchor not in anchors(target))


# ------------------------------------------------------------------------------------------------ the first page


def test_the_readme_is_read_in_three_minutes():
    assert 500 <= len(README.split()) <= 750


def test_the_readme_leads_to_every_other_page():
    assert {(ROOT / link).resolve() for link in links(README) if "README" in link and "#" not in link} == {*PAGES[1:]}


def test_the_first_two_commands_start_from_nothing():
    """A fresh clone with only Python and pip: an environment of its own, and the pinned CPU build of torch."""
    commands = blocks("sh", README)
    assert len(commands) == 2
    for command in commands:
        assert command.startswith("python3 -m venv")
        assert "-c tests/constraints.txt" in command
    assert commands[0].splitlines()[-1] == "jitwarmup demo"
    assert [line for line in commands[1].splitlines() if line.startswith("python -m pytest")] == ["python -m pytest"]


def test_the_constraints_pin_the_torch_of_the_first_two_commands():
    lines = (ROOT / "tests" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert any(re.match(r"torch==\d", line) for line in lines)


def test_the_picture_shows_a_recompile_of_a_real_run():
    picture = (ROOT / "examples" / "a_warm_up.svg").read_text(encoding="utf-8")
    assert "examples/a_warm_up.svg" in links(README)
    assert "dynamo.recompile" in picture
    assert "var(--" not in picture


# ------------------------------------------------------------------------------------------------ all pages


@every_page
def test_every_relative_link_leads_somewhere(page):
    assert [link for link in links(page.read_text(encoding="utf-8")) if is_dead(page, link)] == []


def test_a_dead_link_would_be_found():
    assert is_dead(PAGES[0], "nowhere/README.md")
    assert is_dead(PAGES[0], "CHANGELOG.md#nowhere")
    assert not is_dead(PAGES[0], "jitwarmup/README.md#guarantees")


@every_page
def test_the_python_of_a_page_is_python(page):
    for block in blocks("python", page.read_text(encoding="utf-8")):
        compile(block, named(page), "exec")


def names_imported(text):
    """(module, name) of everything that the Python of a page imports from jitwarmup."""
    for block in blocks("python", text):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "jitwarmup":
                yield from ((node.module, alias.name) for alias in node.names)


@every_page
def test_a_page_names_only_what_there_is(page):
    for module, name in names_imported(page.read_text(encoding="utf-8")):
        if module == "jitwarmup":
            assert name in jitwarmup.__all__
        else:
            pytest.importorskip(module)
            assert hasattr(__import__(module, fromlist=[name]), name)


@every_page
def test_the_extras_that_a_page_installs_exist(page):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    found = re.findall(r"(?:jitwarmup|\.)\[([a-z,]+)\]", page.read_text(encoding="utf-8"))
    assert {extra for group in found for extra in group.split(",")} <= set(extras)


PATH = re.compile(r"(?<![\w/.])((?:tests|examples|jitwarmup)/[\w/.]*[\w])(?![\w*/])")


@every_page
def test_every_path_that_a_page_names_exists(page):
    text = page.read_text(encoding="utf-8")
    assert [
        path for path in PATH.findall(text) if not (ROOT / path.rstrip(".")).exists() and path != "jitwarmup/1"
    ] == []


def named_tests(page):
    """(file, test) as ``file.py::test_x`` names it, and ``::test_y`` after it in the same cell."""
    folder = OF_THE_FOLDER.get(named(page), "")
    for line in page.read_text(encoding="utf-8").splitlines():
        file = ""
        for path, test in re.findall(r"`([\w/.]*?)::(test_\w+)`", line):
            file = path or file
            yield ROOT / (file if "/" in file else f"{folder}/{file}"), test


@every_page
def test_every_test_that_a_page_names_exists(page):
    missing = [
        f"{named(file)}::{test}"
        for file, test in named_tests(page)
        if not re.search(rf"^\s*(async )?def {test}\b", file.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert missing == []


def test_the_sweep_names_the_tests_that_show_its_rows():
    page = ROOT / "jitwarmup/integrations/sweep/README.md"
    assert len(list(named_tests(page))) > 40


def test_the_page_of_events_holds_the_printed_table():
    assert readme_table() in (ROOT / "jitwarmup/events/README.md").read_text(encoding="utf-8")


def test_the_page_of_the_package_names_every_package():
    page = (ROOT / "jitwarmup/README.md").read_text(encoding="utf-8")
    packages = {path.parent.name for path in (ROOT / "jitwarmup").glob("*/__init__.py")}
    assert {name for name in packages if not re.search(rf"^.*\b{name}/", page, re.MULTILINE)} == set()


@pytest.mark.parametrize("package", ["api", "engine", "keys"])
def test_the_tree_names_every_module_of_the_core(package):
    page = (ROOT / "jitwarmup/README.md").read_text(encoding="utf-8")
    branch = re.search(rf"^  {package}/ .*?: (.*?)^  \w+/", page, re.MULTILINE | re.DOTALL)[1]
    modules = {path.stem for path in (ROOT / "jitwarmup" / package).glob("*.py")} - {"__init__"}
    assert set(branch.split()) == modules


def test_the_page_of_examples_names_every_example():
    page = (ROOT / "examples/README.md").read_text(encoding="utf-8")
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == set(re.findall(r"\]\((\w+\.py)\)", page))
