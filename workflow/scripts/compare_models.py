"""Compare the models on the same questions, and judge the paper's claims."""

import json
from pathlib import Path

import pandas as pd

from medrlvr.evaluation import compare
from medrlvr.evaluation.provenance import provenance
from medrlvr.evaluation.sanity import sanity_rows
from medrlvr.evaluation.score import decide, strata
from medrlvr.evaluation.verdict import judge
from medrlvr.files import read_parquet, write_json, write_text
from medrlvr.job import job

if __name__ == "__main__":
    with job(snakemake):
        inputs, output, params = snakemake.input, snakemake.output, snakemake.params
        design = compare.Design(**params.design)
        scores = {model: read_parquet(path) for model, path in zip(params.models, inputs.scores, strict=True)}
        decisions = {model: decide(table) for model, table in scores.items()}
        questions = {name: read_parquet(path) for name, path in zip(design.sets, inputs.questions, strict=True)}
        clusters = read_parquet(inputs.clusters)
        trained = read_parquet(inputs.train)["gold"].tolist()
        asked = pd.concat([table.assign(benchmark=name) for name, table in questions.items()], ignore_index=True)
        divided = dict(iter(strata(asked, set(trained)).groupby("benchmark")))
        # Ten times the paper's resamples: an interval's ends are rarer than a standard deviation.
        resampling = (10 * params.resamples, params.seed)
        compared = {
            "pairs": compare.compare_systems(decisions, clusters, design, *resampling),
            "controls": compare.compare_controls(decisions, questions, clusters, design, *resampling),
            "arms": compare.summarise_arms(decisions, design),
            "decomposition": compare.decompose_gain(decisions, design),
        }
        for name, records in compared.items():
            write_text(output[name], pd.json_normalize(records).to_csv(index=False))
        sanity = {name: sanity_rows(table, trained, divided[name]) for name, table in questions.items()}
        claims = judge(compared["pairs"], scores, pd.read_csv(inputs.paper, keep_default_na=False), design)
        metrics = {
            model: json.loads(Path(path).read_text(encoding="utf-8"))["records"]
            for model, path in zip(params.models, inputs.metrics, strict=True)
        }
        write_text(output.table, compare.whole_table(metrics, sanity).to_csv(index=False))
        source = provenance(inputs, params.again)
        write_json(output.comparisons, compared | {"sanity": sanity, "provenance": source})
        write_json(output.verdict, {"claims": claims, "provenance": source})
