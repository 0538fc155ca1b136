"""The search for expressions that the language guide avoids; `make style` runs it on the whole repository."""

import pytest
from words import files, find, prose, read_expressions

EXPRESSIONS = read_expressions()


@pytest.mark.parametrize(
    "text",
    [
        "training goes on",
        "a run goes\non",
        "it stands in the table",
        "it lies under results/",
        "beside the table",
        "the user is told",
        "the log says why",
        "Nobody reads it",
        "Done. Who deletes it, trains",
        "what decides the result",
        "from 100 on",
        "the block's begin",
        "the models are asked",
        "asks a model",
        "the file is made",
        "it takes 5 minutes",
        "it takes about 0.4 s",
        "at its fullest",
        "An alarm sounds",
        "the page",
        "the hub",
    ],
)
def test_an_expression_of_the_guide_is_found(text: str) -> None:
    assert [line for line, _, _ in find(text, EXPRESSIONS)] == [1]


@pytest.mark.parametrize(
    "text",
    [
        "it resumes",
        "runs on the GPU",
        "it stands for the paper's arm",
        "behind a proxy",
        "the rules behind them",
        "It needs no other file",
        "look-alike letters",
        "there is a file",
        "the Hugging Face Hub",
        "the Hub",
        "web pages",
        "which questions exist",
        "it takes effect",
        "sound advice",
    ],
)
def test_a_correct_expression_is_not_found(text: str) -> None:
    assert [*find(text, EXPRESSIONS)] == []


def test_code_in_documents_is_not_searched() -> None:
    text = "beside\n`beside`\n\n    beside\n\n```text\nbeside\n```\n[x](beside)\n"
    text += "<!-- words: off -->beside<!-- words: on -->\n"
    assert [line for line, _, _ in find(prose("a.md", text), EXPRESSIONS)] == [1]


PROGRAM = '''\
"""Stands beside."""
beside = 1  # beside
x = f"a {beside} b" + "beside"
raise SystemExit(f"it says {beside}, "
                 "and goes " "on")
def test_it_goes_on(): beside
'''


def test_comments_docstrings_and_messages_of_code_are_searched() -> None:
    found = [(line, expression) for line, expression, _ in find(prose("src/a.py", PROGRAM), EXPRESSIONS)]
    assert found == [(1, "Stands beside"), (1, "beside"), (2, "beside"), (4, "says"), (6, "goes on")]


def test_comments_docstrings_and_names_of_tests_are_searched() -> None:
    assert [line for line, _, _ in find(prose("tests/a.py", PROGRAM), EXPRESSIONS)] == [1, 1, 2, 6]


def test_documents_and_code_are_searched_and_data_is_not() -> None:
    searched = files()
    assert {"README.md", "Snakefile", "docs/style.md", "src/medrlvr/cli/main.py", "tests/words.py"} <= set(searched)
    assert not [name for name in searched if name.startswith(("tests/golden/", "prompts/"))]
