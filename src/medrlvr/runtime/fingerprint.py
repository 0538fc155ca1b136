"""Fingerprints of code: short texts that change if the code changes, but not if its comments or layout do."""

import ast
import hashlib

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def fingerprint(*sources: str) -> str:
    """Return a hash of Python source texts without their comments, docstrings and layout.

    Raises:
        SyntaxError: a text is not valid Python.
    """
    digest = hashlib.sha256()
    for source in sources:
        tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, _DOCUMENTED):
                node.body = [part for part in node.body if not _is_text(part)]
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()[:16]


def _is_text(statement: ast.stmt) -> bool:
    # Docstrings, also those after an attribute, are statements that consist only of a string.
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
