"""Render the report, and write the configuration of its experiment next to it."""

from pathlib import Path

from medrlvr.config.load import load_config
from medrlvr.report.index import rebuild_index
from medrlvr.report.render import collect_inputs, write_report
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake) as notify:
        page = Path(snakemake.output.page)
        now = load_config(snakemake.config)
        inputs = collect_inputs(dict(snakemake.input.items()), dict(snakemake.params.items()), page.parent, now)
        notify(write_report(inputs, now, page, Path(snakemake.output.config)))
        rebuild_index(page.parent.parent, notify)
