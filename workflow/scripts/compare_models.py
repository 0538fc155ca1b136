"""Compare the models on the same questions, and assess the paper's claims."""

import pandas as pd

from medrlvr.config.design import ComparisonDesign
from medrlvr.evaluation.baselines import trivial_baselines
from medrlvr.evaluation.claims import assess_claims
from medrlvr.evaluation.comparison.controls import compare_controls, compare_shifts
from medrlvr.evaluation.comparison.decomposition import decompose_gain
from medrlvr.evaluation.comparison.pairs import compare_systems
from medrlvr.evaluation.comparison.tables import metrics_table, summarise_arms
from medrlvr.evaluation.early_answers import early_answer_evidence
from medrlvr.evaluation.score import majority_vote
from medrlvr.evaluation.sensitivity.claim import last_measures, sensitivity_evidence
from medrlvr.evaluation.strata import strata
from medrlvr.runtime.files import read_json, read_parquet, write_json, write_text
from medrlvr.runtime.provenance import provenance
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake):
        inputs, output, params = snakemake.input, snakemake.output, snakemake.params
        design = ComparisonDesign(**params.design)
        scores = {model: read_parquet(path) for model, path in zip(params.models, inputs.scores, strict=True)}
        predictions = {model: majority_vote(table) for model, table in scores.items()}
        questions = {name: read_parquet(path) for name, path in zip(design.sets, inputs.questions, strict=True)}
        clusters = read_parquet(inputs.clusters)
        trained = read_parquet(inputs.train)["gold"].dropna().tolist()
        asked = pd.concat([table.assign(benchmark=name) for name, table in questions.items()], ignore_index=True)
        divided = dict(iter(strata(asked, set(trained)).groupby("benchmark")))
        # Ten times the paper's resamples: the ends of an interval need more of them than a standard deviation.
        resampling = (10 * params.resamples, params.seed)
        compared = {
            "pairs": compare_systems(predictions, clusters, design, *resampling),
            "controls": compare_controls(predictions, questions, clusters, design, *resampling),
            "shifts": compare_shifts(predictions, questions, clusters, design, *resampling),
            "arms": summarise_arms(predictions, design),
            "decomposition": decompose_gain(predictions, design),
        }
        for name, records in compared.items():
            write_text(output[name], pd.json_normalize(records).to_csv(index=False))
        sanity = {name: trivial_baselines(table, trained, divided[name]) for name, table in questions.items()}
        probed = zip(inputs.sensitivity, inputs.sensitivity_records, strict=True)
        last = [last_measures(read_parquet(table), read_json(record)["records"]) for table, record in probed]
        paper = pd.read_csv(inputs.paper, keep_default_na=False)
        sensitivity = sensitivity_evidence(last, design.benchmarks, clusters, *resampling)
        early = early_answer_evidence([*map(read_parquet, inputs.dynamics)], design, len(read_parquet(inputs.train)))
        controls = {name: [one[name] for one in (sensitivity, early) if name in one] for name in design.benchmarks}
        claims = assess_claims(compared["pairs"], scores, paper, design, controls)
        metrics = {model: read_json(path)["records"] for model, path in zip(params.models, inputs.metrics, strict=True)}
        write_text(output.table, metrics_table(metrics, sanity).to_csv(index=False))
        source = provenance(inputs, params.again)
        write_json(output.comparisons, compared | {"sanity": sanity, "provenance": source})
        write_json(output.verdict, {"claims": claims, "provenance": source})
