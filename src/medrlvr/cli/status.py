"""`medrlvr status`: the progress of an experiment."""

import time
from argparse import Namespace

from medrlvr.cli.parsers import CommandParser


def _parser() -> CommandParser:
    details = (
        "It reads the files in results/<experiment>/ and the logs of the steps. If a log has no end, it looks for the"
        "\nstep's process or Slurm job. It writes nothing. Without an overlay, it shows the paper's experiment."
    )
    parser = CommandParser("status", _status, details)
    parser.add_argument(
        "overlays", metavar="OVERLAY", nargs="*", help="YAML file, merged over config/config.yaml in this order"
    )
    return parser


PARSERS = {"status": _parser}


def _status(options: Namespace) -> None:
    from medrlvr.cli.root import enter_root
    from medrlvr.config.load import read_overlays
    from medrlvr.pipeline.slurm_queue import ask_slurm
    from medrlvr.pipeline.status import render

    from_root = enter_root()
    experiment = read_overlays([from_root(overlay) for overlay in options.overlays])
    print(render(experiment, ask_slurm(), time.time()))
