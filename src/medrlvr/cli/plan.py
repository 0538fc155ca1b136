"""`medrlvr plan`: the plan of a run, before anything starts."""

from argparse import Namespace

from medrlvr.cli.parsers import CommandParser


def _parser() -> CommandParser:
    parser = CommandParser("plan", _plan, "Without an overlay, it plans the paper's experiment.")
    parser.add_argument(
        "overlays", metavar="OVERLAY", nargs="*", help="YAML file, merged over config/config.yaml in this order"
    )
    parser.add_argument("--profile", metavar="P", help="profile of Snakemake, such as slurm; default: this machine")
    return parser


PARSERS = {"plan": _parser}


def _plan(options: Namespace) -> None:
    from medrlvr.cli.root import enter_root, profile_from
    from medrlvr.cli.snakemake import dry_run
    from medrlvr.config.load import read_overlays
    from medrlvr.pipeline.plan.jobs import jobs_of
    from medrlvr.pipeline.plan.text import plan

    from_root = enter_root()
    overlays = [from_root(overlay) for overlay in options.overlays]
    profile = profile_from(from_root, options.profile)
    experiment = read_overlays(overlays)
    arguments = ["--profile", profile] if profile else []
    arguments += ["--configfile", *overlays] if overlays else []
    jobs = jobs_of(dry_run(*arguments), dry_run("--forceall", *arguments))
    # The printed commands are for the user's folder, so they have the paths that the user gave.
    print(plan(experiment, jobs, options.overlays, options.profile), end="")
