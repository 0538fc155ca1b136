"""`medrlvr ask`: one question to one model."""

from argparse import Namespace
from pathlib import Path

from medrlvr.cli.parsers import CommandParser


def _parser() -> CommandParser:
    details = (
        "It uses the engine, prompt template and grader of the evaluation. For your own question, give a JSON file"
        "\nwith stem, and with options (a list) and answer (the letter), or value (a number; also unit, absolute and"
        "\nrelative), or accepted (a list of texts). Research only: not medical advice."
    )
    parser = CommandParser("ask", _ask, details)
    parser.add_argument("model", metavar="MODEL", help="model folder: results/<experiment>/models/...")
    parser.add_argument(
        "--question", metavar="ID|FILE", help="ID of a benchmark question, or a .json file; default: the first"
    )
    parser.add_argument(
        "--mode", metavar="MODE", help="an evaluation mode of the experiment; default: the model's first"
    )
    return parser


PARSERS = {"ask": _parser}


def _ask(options: Namespace) -> None:
    from medrlvr.cli.root import enter_root
    from medrlvr.evaluation.ask import converse

    from_root = enter_root()
    question = options.question
    if question and question.endswith(".json"):
        question = from_root(question)
    print(converse(Path(from_root(options.model)), question, options.mode))
