"""Fetch the file of one data set and split."""

from medrlvr.data.fetch import fetch
from medrlvr.data.registry import find, load_registry
from medrlvr.job import job

if __name__ == "__main__":
    with job(snakemake.log[0]) as say:
        source = find(load_registry(snakemake.input.registry), snakemake.params.name)
        commit = fetch(source, snakemake.output[0], snakemake.params.mirror)
        if commit and source.status == "unverified":
            say(f"{source.name}: the content is right at revision {commit} of {source.home}: enter it in datasets.tsv")
