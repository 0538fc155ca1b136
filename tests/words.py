"""Search the repository's texts for expressions that the language guide avoids: python tests/words.py [FILE ...]

tests/words.tsv lists the expressions. Texts are documents, and the comments, docstrings and messages of code; of tests
only their names, comments and docstrings. Code in documents is not searched, and a document may exclude a part between
`<!-- words: off -->` and `<!-- words: on -->`.
"""

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORDS = ROOT / "tests/words.tsv"
KINDS = (".md", ".py", ".smk", ".yaml", ".yml", ".toml", ".in", ".sh", ".jinja", ".rst", ".js")
NAMES = ("Makefile", "Snakefile")
EXEMPT = (
    "config/config.yaml",  # generated from the docstrings of src/medrlvr/config
    "src/medrlvr/grading/patterns.py",  # phrases of models
    "src/medrlvr/grading/self_verification.py",
    "src/medrlvr/data/miniature/world.py",
    "src/medrlvr/data/miniature/corpus.py",
    "src/medrlvr/report/vendor/plot.min.js",
    "src/medrlvr/report/vendor/LICENSES.txt",
    "tests/golden/",
    "prompts/",
)
"""Files and folders whose text is data: what models write or read."""


QUOTES = re.compile(r"""^\w{0,2}("{3}|'{3}|"|')|("{3}|'{3}|"|')$""")


STRINGS = (tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", None))
"""Tokens with text. From Python 3.12 on, the text of an f-string has tokens of its own."""


@dataclass(frozen=True, slots=True)
class Expression:
    pattern: re.Pattern[str]
    instead: str


def read_expressions(path: Path = WORDS) -> list[Expression]:
    """Return the expressions of a file of patterns."""
    expressions = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            pattern, instead = line.split("\t")
            flags = re.NOFLAG if re.search(r"(?<!\\)[A-Z]", pattern) else re.IGNORECASE
            expressions.append(Expression(re.compile(pattern.replace(" ", r"\s+"), flags), instead))
    return expressions


def find(text: str, expressions: list[Expression]) -> Iterator[tuple[int, str, str]]:
    """Yield line number, expression found and what to write instead, in the order of the text."""
    found = ((match, one.instead) for one in expressions for match in one.pattern.finditer(text))
    for match, instead in sorted(found, key=lambda pair: pair[0].start()):
        yield text.count("\n", 0, match.start()) + 1, " ".join(match.group().split()), instead


def prose(name: str, text: str) -> str:
    """Return the text of a file with everything that is not prose replaced by spaces; lines keep their numbers."""
    if name.endswith(".md"):
        return _document(text)
    if name.endswith(".py"):
        return _python(text, docstrings_only=name.startswith("tests/"))
    return _blank(r"`[^`\n]*`", re.sub(r"(?m)^(\s*)#", r"\1 ", text))


def _blank(pattern: str, text: str) -> str:
    return re.sub(pattern, lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def _document(text: str) -> str:
    for pattern in (
        r"(?s)<!-- words: off -->.*?<!-- words: on -->",
        r"(?ms)^(`{3,})\w*\n.*?^\1$",
        r"(?m)^ {4,}(?![-*\d]).*$",  # code; but not the continued lines of lists, which are indented less
        r"`[^`\n]*`",
        r"\]\([^)\n]*\)",
    ):
        text = _blank(pattern, text)
    return text


def _python(text: str, docstrings_only: bool) -> str:
    lines = text.splitlines(keepends=True)
    kept = [[character if character == "\n" else " " for character in line] for line in lines]
    docstrings = _docstring_lines(text)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        (row, column), (last, _) = token.start, token.end
        if token.type == tokenize.COMMENT:
            shown = " " + token.string[1:]
        elif token.type == tokenize.NAME and token.string.startswith("test_"):
            shown = token.string.replace("_", " ")
        elif token.type in STRINGS and (row in docstrings or not docstrings_only) and " " in token.string:
            shown = QUOTES.sub(lambda match: " " * len(match[0]), token.string)
            if row not in docstrings:
                shown = _blank(r"\{[^{}\n]*\}", shown)
        else:
            continue
        shown = _blank(r"`[^`\n]*`", shown)
        for number, part in enumerate(shown.split("\n"), row - 1):
            start = column if number == row - 1 else 0
            kept[number][start : start + len(part)] = part
        assert number == last - 1
    return "".join(map("".join, kept))


def _docstring_lines(text: str) -> set[int]:
    """Return the first lines of docstrings, and of strings that follow an assignment as its documentation."""
    return {
        node.value.lineno
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    }


def files() -> list[str]:
    """Return the files to search, those that git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted(
        name
        for name in set(listed)
        if (name.endswith(KINDS) or name in NAMES) and not name.startswith(EXEMPT) and (ROOT / name).is_file()
    )


if __name__ == "__main__":
    expressions = read_expressions()
    counts: Counter[str] = Counter()
    for name in sys.argv[1:] or files():
        for line, found, instead in find(prose(name, (ROOT / name).read_text(encoding="utf-8")), expressions):
            print(f'{name}:{line}: "{found}". Write: {instead}')
            counts[name] += 1
    if counts:
        sys.exit(
            f"{counts.total()} expressions in {len(counts)} files are in the list of docs/style.md. Replace them. If"
            " one is correct, make its pattern in tests/words.tsv narrower."
        )
