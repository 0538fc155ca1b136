"""Fetch the file of one data set and split."""

import os

from medrlvr.config.load import load_config
from medrlvr.data.fetch import fetch
from medrlvr.data.registry import find, load_registry
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake) as notify:
        source = find(load_registry(snakemake.input.registry), snakemake.params.name)
        # The mirror is not a parameter of the rule: the file's hash matters, not its source.
        mirror = os.environ.get("MEDRLVR_MIRROR") or load_config(snakemake.config).data.mirror
        commit = fetch(source, snakemake.output[0], mirror, notify)
        if commit and source.status == "unverified":
            notify(
                f"{source.name}: the hash matches at revision {commit} of {source.home}."
                " You can set its status to verified in config/datasets.tsv."
            )
