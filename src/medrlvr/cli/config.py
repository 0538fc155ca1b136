"""`medrlvr config`: the merged settings, their checks, and the files that are generated from their definitions."""

from argparse import Namespace

from medrlvr.cli.parsers import CommandParser


def _parser() -> CommandParser:
    details = (
        "show   print config/config.yaml with the overlays merged over it, as one overlay"
        "\ncheck  check the settings, and the files and models that they name, as a run does before its first job"
        "\nwrite  write config/config.yaml and config/schema.json from src/medrlvr/config/"
    )
    parser = CommandParser("config", _config, details)
    parser.add_argument("action", choices=["show", "check", "write"], help="see above")
    parser.add_argument(
        "overlays", metavar="OVERLAY", nargs="*", help="YAML file, merged over config/config.yaml in this order"
    )
    parser.set_defaults(error=parser.error)
    return parser


PARSERS = {"config": _parser}


def _config(options: Namespace) -> None:
    from medrlvr.cli.root import enter_root

    if options.action == "write" and options.overlays:
        options.error("`medrlvr config write` accepts no overlay. Start it without one.")
    from_root = enter_root()
    overlays = [from_root(overlay) for overlay in options.overlays]
    if options.action == "write":
        from medrlvr.config.files import write_files

        print("\n".join(f"written: {file}" for file in write_files()))
        return

    import yaml

    from medrlvr.config.layout import Layout
    from medrlvr.config.load import read_overlays
    from medrlvr.data.registry import load_registry
    from medrlvr.pipeline.preflight import check_files

    experiment = read_overlays(overlays)
    if options.action == "show":
        print(yaml.safe_dump(experiment.overlay(), sort_keys=False), end="")
        return
    check_files(experiment, load_registry("config/datasets.tsv"), Layout(experiment).results)
    print(f"{experiment.experiment}: the settings, and the files and models that they name, can be used.")
