"""`medrlvr demo` and `medrlvr run`: print each Snakemake command; the last one replaces this process."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from medrlvr.cli.parsers import SnakemakeParser
from medrlvr.runtime.errors import UserError

MINIATURE = "config/miniature.yaml"
PROMPTS = "render_training_prompts"
"""The last rule before training that depends on the data."""
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
    from medrlvr.cli.snakemake import snakemake_arguments

    enter_root()
    whole = snakemake_arguments([MINIATURE], cores=options.cores, more=options.snakemake)
    _start(whole, [MINIATURE], is_whole=not options.snakemake)


def _run(options: Namespace) -> None:
    from medrlvr.cli.root import enter_root, profile_from
    from medrlvr.cli.snakemake import snakemake_arguments
    from medrlvr.config.load import parse_yaml

    for overlay in options.overlays:
        if not Path(overlay).is_file():
            raise UserError(
                f"{overlay} does not exist. An overlay is a YAML file; its path is relative to your working directory."
            )
        # Snakemake would show a traceback for a file that is not YAML.
        parse_yaml(Path(overlay))
    from_root = enter_root()
    overlays = [from_root(overlay) for overlay in options.overlays]
    chosen = {name: getattr(options, name) for name in ("cores", "until", "dry_run")}
    profile = profile_from(from_root, options.profile)
    arguments = snakemake_arguments(overlays, profile=profile, more=options.snakemake, **chosen)
    _start(arguments, overlays, is_whole=not (options.until or options.dry_run or options.snakemake))


def _start(arguments: Sequence[str], overlays: Sequence[str], *, is_whole: bool) -> None:
    """Become Snakemake; for a whole run of an experiment with results, first prepare data and prompts.

    Snakemake plans a training as soon as a step before it has to run, and does not withdraw the plan if that step then
    writes the same content. So a new benchmark would train every model again.
    """
    from medrlvr.cli.snakemake import become_snakemake, run_snakemake
    from medrlvr.config.layout import Layout
    from medrlvr.config.load import read_overlays

    # Most first runs have no results, and need no configuration here.
    present = [file.parent for file in Path("results").glob("*/prompts")]
    if is_whole and present and Layout(read_overlays(overlays)).results in present:
        run_snakemake([*arguments, "--until", PROMPTS])
    become_snakemake(arguments)
