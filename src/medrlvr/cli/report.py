"""`medrlvr report` and `medrlvr compare`: one experiment's report, and one report on several experiments."""

import os
from argparse import Namespace
from pathlib import Path

from medrlvr.cli.parsers import CommandParser
from medrlvr.runtime.errors import UserError


def _report_parser() -> CommandParser:
    parser = CommandParser("report", _report)
    parser.add_argument("results", metavar="RESULTS", help="folder of an experiment: results/<experiment>")
    parser.add_argument("--rebuild", action="store_true", help="render the report again, with Snakemake")
    return parser


def _compare_parser() -> CommandParser:
    parser = CommandParser("compare", _compare, "results/comparison.svg, .pdf and .csv contain its figure.")
    parser.add_argument("results", metavar="RESULTS", nargs="+", help="folders of finished experiments")
    return parser


PARSERS = {"report": _report_parser, "compare": _compare_parser}


def _report(options: Namespace) -> None:
    results = Path(options.results)
    page = results / "report.html"
    needed = results / "config.yaml" if options.rebuild else page
    if not needed.is_file():
        raise UserError(
            f"{needed} does not exist. `medrlvr run` writes this file at the end of an experiment. Give the folder of a"
            " finished experiment, such as results/miniature."
        )
    if options.rebuild:
        _rebuild(options.results)
    print(page)


def _rebuild(results: str) -> None:
    from medrlvr.cli.root import enter_root
    from medrlvr.cli.snakemake import become_snakemake, snakemake_arguments

    folder = enter_root()(results)
    page = f"{folder}/report.html"
    become_snakemake(snakemake_arguments([f"{folder}/config.yaml"], more=["--forcerun", page, "--", page]))


def _compare(options: Namespace) -> None:
    from medrlvr.cli.root import enter_root
    from medrlvr.report.experiments import write_page

    here = Path.cwd()
    from_root = enter_root()
    page = Path("results/comparison.html")
    write_page([Path(from_root(results)) for results in options.results], page)
    print(f"The report: {os.path.relpath(page, here)}")
