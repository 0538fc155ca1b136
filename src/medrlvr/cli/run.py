"""`medrlvr demo` and `medrlvr run`: print the Snakemake command and run it in place of this process."""

from argparse import Namespace
from pathlib import Path

from medrlvr.cli.parsers import SnakemakeParser
from medrlvr.runtime.errors import UserError

MINIATURE = "config/miniature.yaml"
_AFTER_DASHES = "\nArguments after -- go to Snakemake unchanged; it runs in the repository's root."


def _demo_parser() -> SnakemakeParser:
    parser = SnakemakeParser("demo", _demo, _AFTER_DASHES)
    parser.add_argument("--cores", metavar="N", help="number of cores; default: all")
    return parser


def _run_parser() -> SnakemakeParser:
    parser = SnakemakeParser("run", _run, f"Without an overlay, it runs the paper's experiment.{_AFTER_DASHES}")
    parser.add_argument(
        "overlays", metavar="OVERLAY", nargs="*", help="YAML file, merged over config/config.yaml in this order"
    )
    parser.add_argument("--profile", metavar="P", help="profile of Snakemake, such as slurm; default: this machine")
    parser.add_argument("--cores", metavar="N", help="number of cores; default: all, or the profile's")
    parser.add_argument("--until", metavar="RULE", action="append", default=[], help="rule to stop after; repeatable")
    parser.add_argument("-n", "--dry-run", action="store_true", help="print the jobs; start nothing")
    return parser


PARSERS = {"demo": _demo_parser, "run": _run_parser}


def _demo(options: Namespace) -> None:
    from medrlvr.cli.root import enter_root
    from medrlvr.cli.snakemake import become_snakemake, snakemake_arguments

    enter_root()
    become_snakemake(snakemake_arguments([MINIATURE], cores=options.cores, more=options.snakemake))


def _run(options: Namespace) -> None:
    from medrlvr.cli.root import enter_root, profile_from
    from medrlvr.cli.snakemake import become_snakemake, snakemake_arguments
    from medrlvr.config.load import parse_yaml

    for overlay in options.overlays:
        if not Path(overlay).is_file():
            raise UserError(
                f"{overlay} does not exist. An overlay is a YAML file; its path is relative to your working directory."
            )
        # Snakemake would show a traceback for a file that is not YAML.
        parse_yaml(Path(overlay))
    from_root = enter_root()
    chosen = {name: getattr(options, name) for name in ("cores", "until", "dry_run")}
    become_snakemake(
        snakemake_arguments(
            [from_root(overlay) for overlay in options.overlays],
            profile=profile_from(from_root, options.profile),
            more=options.snakemake,
            **chosen,
        )
    )
