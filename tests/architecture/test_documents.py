"""Documents name what exists, and what exists is named."""

import re
import tomllib
from pathlib import Path

import pytest

from flows.cli import app
from worker.contract.arms import TINY_ARCHITECTURES, Mode
from worker.contract.results import ArmState

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def commands() -> set[str]:
    return {command.name or str(getattr(command.callback, "__name__", None)) for command in app.registered_commands}


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", read("Makefile"), re.MULTILINE))


def glossary_terms() -> dict[str, str]:
    """Return each term's text."""
    _, *sections = re.split(r"^## ", read("docs/glossary.md"), flags=re.MULTILINE)
    return {term.strip(): text.strip() for term, _, text in (section.partition("\n") for section in sections)}


def test_the_readme_names_every_command_and_no_other() -> None:
    named = set(re.findall(r"(?:^|`)(?:\.venv/bin/)?freeze-bench ([a-z]+)\b", code(read("README.md")), re.MULTILINE))

    assert named == commands()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_make_target_that_is_named_exists(document: Path) -> None:
    named = set(re.findall(r"(?:^|`)make ([a-z][a-z-]*)", code(document.read_text("utf-8")), re.MULTILINE))

    assert named
    assert named <= make_targets()


def test_every_make_target_is_listed_for_contributors() -> None:
    listed = set(re.findall(r"^\| `make ([a-z-]+)", read("CONTRIBUTING.md"), re.MULTILINE))

    assert listed | {"help", "setup"} == make_targets()


@pytest.mark.parametrize("document", [*DOCUMENTS, *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda path: path.name)
def test_every_link_to_a_file_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", document.read_text("utf-8"))

    lost = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert lost == []


def test_the_glossary_knows_every_mode() -> None:
    assert set(Mode) <= set(glossary_terms())


def test_the_glossary_names_every_state_of_an_arm() -> None:
    text = read("docs/glossary.md")

    assert [state for state in ArmState if not re.search(rf"\b{state}\b", text)] == []


def test_every_term_of_the_glossary_is_explained_and_in_order() -> None:
    terms = glossary_terms()

    assert [term for term, text in terms.items() if not text] == []
    assert list(terms) == sorted(terms)


def test_every_tiny_architecture_is_shown_by_the_demo() -> None:
    demo = tomllib.loads(read("plans/demo.toml"))

    assert {arm["backbone"] for arm in demo["arms"]} == {f"tiny:{architecture}" for architecture in TINY_ARCHITECTURES}


def code(document: str) -> str:
    """Return a document's code blocks and its inline code, one per line."""
    blocks = re.findall(r"```.*?\n(.*?)```", document, re.DOTALL)
    inline = re.findall(r"`[^`\n]+`", re.sub(r"```.*?```", "", document, flags=re.DOTALL))
    return "\n".join([*blocks, *inline])
