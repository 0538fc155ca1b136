"""Data (paper, section 3.1).

REQUIRED INPUTS: config/datasets.tsv; a mirror folder or the Hugging Face Hub, except for our synthetic data
OUTPUTS:
    raw                  = data/raw/{dataset}/{split}.*: verified by hash before any step reads it
    questions            = data/questions/{dataset}/{split}.parquet, with {split}.rejected.parquet next to it
    duplicates, clusters = data/{duplicates,clusters}.parquet: pairs within and across the sets, and their clusters
    runs                 = data/overlaps.parquet: character and word runs shared by training and held-out questions
    train, benchmarks    = data/train.parquet, data/benchmarks/{benchmark}.parquet
                           and, with other options, {benchmark}_{control}.parquet
    contamination        = data/contamination.parquet: training questions found in a held-out set; which are removed
    data card            = data/data_card.json: sources of the questions, and problems found in them
"""


rule make_miniature:
    """Generate the questions of the synthetic world; nothing is downloaded."""
    input:
        facts="src/medrlvr/data/miniature/facts.tsv",
    output:
        train=f"{RESULTS}/data/raw/miniature/train.jsonl",
        dev=f"{RESULTS}/data/raw/miniature/dev.jsonl",
        test=f"{RESULTS}/data/raw/miniature/test.jsonl",
        options_test=f"{RESULTS}/data/raw/miniature_options/test.jsonl",
        form_test=f"{RESULTS}/data/raw/miniature_form/test.jsonl",
        pairs_test=f"{RESULTS}/data/raw/miniature_pairs/test.jsonl",
    log:
        log_of("data/make_miniature"),
    benchmark:
        benchmark_of("data/make_miniature")
    params:
        sizes={name: getattr(EXPERIMENT.miniature, name) for name in QUESTION_SETS},
        seed=EXPERIMENT.miniature.seed,
    message:
        "Generate the questions of the synthetic world"
    script:
        "../scripts/make_miniature.py"


rule make_calculations:
    """Generate the questions of the synthetic world of calculations; nothing is downloaded."""
    output:
        train=f"{RESULTS}/data/raw/calculations/train.jsonl",
        dev=f"{RESULTS}/data/raw/calculations/dev.jsonl",
        test=f"{RESULTS}/data/raw/calculations/test.jsonl",
        formulas_test=f"{RESULTS}/data/raw/calculations_formulas/test.jsonl",
        ranges_test=f"{RESULTS}/data/raw/calculations_ranges/test.jsonl",
    log:
        log_of("data/make_calculations"),
    benchmark:
        benchmark_of("data/make_calculations")
    params:
        sizes={name: getattr(EXPERIMENT.calculations, name) for name in CALCULATION_SETS},
        seed=EXPERIMENT.calculations.seed,
    message:
        "Generate the questions of the world of calculations"
    script:
        "../scripts/make_calculations.py"


rule plant_loophole:
    """Write the miniature's questions with a cue to one option, for the bench of hack detectors."""
    input:
        lambda wildcards: f"{RESULTS}/data/raw/miniature/{SPLITS[wildcards.split]}.jsonl",
    output:
        f"{RESULTS}/data/raw/miniature_{{loophole}}/{{split}}.jsonl",
    log:
        log_of("data/raw/miniature_{loophole}/{split}"),
    benchmark:
        benchmark_of("data/raw/miniature_{loophole}/{split}")
    wildcard_constraints:
        loophole="|".join(LOOPHOLES),
        split="|".join(SPLITS),
    params:
        seed=EXPERIMENT.miniature.seed,
    message:
        "Plant the loophole {wildcards.loophole} in the questions of split {wildcards.split}"
    script:
        "../scripts/plant_loophole.py"


rule fetch_dataset:
    """Fetch one file from the mirror or the Hugging Face Hub; reject it if its hash is not the registered one."""
    input:
        registry=REGISTRY,
    output:
        f"{RESULTS}/data/raw/{{dataset}}/{{split}}.{{suffix}}",
    log:
        log_of("data/raw/{dataset}/{split}.{suffix}"),
    benchmark:
        benchmark_of("data/raw/{dataset}/{split}.{suffix}")
    wildcard_constraints:
        dataset="|".join({source.dataset for source in SOURCES.values() if not source.generated}),
        split="[a-z0-9_]+",
        suffix="jsonl|json|csv|parquet",
    params:
        name="{dataset}/{split}",
    message:
        "Fetch {params.name}"
    script:
        "../scripts/fetch_dataset.py"


rule normalise_questions:
    """Turn every row into a typed question, or reject it with its line number and the reason."""
    input:
        raw=raw_file,
        registry=REGISTRY,
    output:
        questions=f"{RESULTS}/data/questions/{{dataset}}/{{split}}.parquet",
        rejected=f"{RESULTS}/data/questions/{{dataset}}/{{split}}.rejected.parquet",
    log:
        log_of("data/questions/{dataset}/{split}"),
    benchmark:
        benchmark_of("data/questions/{dataset}/{split}")
    wildcard_constraints:
        dataset="[a-z0-9_]+",
        split="[a-z0-9_]+",
    params:
        name="{dataset}/{split}",
        none_of_the_above=list(EXPERIMENT.data.none_of_the_above),
    message:
        "Normalise {params.name}"
    script:
        "../scripts/normalise_questions.py"


rule find_duplicates:
    """Find duplicates within each set and across all sets."""
    input:
        questions=question_tables(SETS),
    output:
        pairs=f"{RESULTS}/data/duplicates.parquet",
        clusters=f"{RESULTS}/data/clusters.parquet",
    log:
        log_of("data/find_duplicates"),
    benchmark:
        benchmark_of("data/find_duplicates")
    params:
        near_similarity=EXPERIMENT.contamination.near_similarity,
    message:
        "Find duplicates"
    script:
        "../scripts/find_duplicates.py"


rule find_overlaps:
    """Find runs of characters and words that training questions share with held-out ones."""
    input:
        questions=question_tables(SETS),
    output:
        f"{RESULTS}/data/overlaps.parquet",
    log:
        log_of("data/find_overlaps"),
    benchmark:
        benchmark_of("data/find_overlaps")
    params:
        train=EXPERIMENT.data.train,
        char_overlap=EXPERIMENT.contamination.char_overlap,
        word_overlap=EXPERIMENT.contamination.word_overlap,
    message:
        "Find overlaps between training and held-out questions"
    script:
        "../scripts/find_overlaps.py"


rule split_questions:
    """Remove contaminated training questions, then draw the samples. Benchmark questions are never removed."""
    input:
        train=question_tables([EXPERIMENT.data.train]),
        held_out=question_tables(HELD_OUT.values()),
        pairs=f"{RESULTS}/data/duplicates.parquet",
        runs=f"{RESULTS}/data/overlaps.parquet",
    output:
        **{name: f"{RESULTS}/data/benchmarks/{name}.parquet" for name in HELD_OUT},
        train=f"{RESULTS}/data/train.parquet",
        contamination=f"{RESULTS}/data/contamination.parquet",
    log:
        log_of("data/split_questions"),
    benchmark:
        benchmark_of("data/split_questions")
    params:
        train=EXPERIMENT.data.train,
        rules=list(EXPERIMENT.contamination.removing),
        names=list(HELD_OUT),
        rows=LAYOUT.sample_sizes,
        seed=EXPERIMENT.data.seed,
    message:
        "Select the training and the benchmark questions"
    script:
        "../scripts/split_questions.py"


rule make_control:
    """Make a control of a benchmark: the same questions with other options."""
    input:
        f"{RESULTS}/data/benchmarks/{{benchmark}}.parquet",
    output:
        f"{RESULTS}/data/benchmarks/{{benchmark}}_{{control}}.parquet",
    log:
        log_of("data/benchmarks/{benchmark}_{control}"),
    benchmark:
        benchmark_of("data/benchmarks/{benchmark}_{control}")
    wildcard_constraints:
        benchmark="|".join(BENCHMARKS),
        control="|".join(get_args(Control)),
    params:
        seed=EXPERIMENT.evaluation.seed,
    message:
        "Make the control {wildcards.control} of {wildcards.benchmark}"
    script:
        "../scripts/make_control.py"


rule write_data_card:
    """Describe files, counts, lengths, duplicates and contamination, for the report."""
    input:
        registry=REGISTRY,
        questions=question_tables(SETS),
        rejected=[f"{RESULTS}/data/questions/{name}.rejected.parquet" for name in SETS],
        pairs=f"{RESULTS}/data/duplicates.parquet",
        clusters=f"{RESULTS}/data/clusters.parquet",
        contamination=f"{RESULTS}/data/contamination.parquet",
        used=[f"{RESULTS}/data/train.parquet", *(f"{RESULTS}/data/benchmarks/{name}.parquet" for name in HELD_OUT)],
        base=f"{RESULTS}/models/base",
    output:
        report(f"{RESULTS}/data/data_card.json", caption="../report/captions/data_card.rst", category="Data"),
    log:
        log_of("data/write_data_card"),
    benchmark:
        benchmark_of("data/write_data_card")
    params:
        sets=SETS,
        used=["train", *HELD_OUT],
        contamination=EXPERIMENT.contamination.model_dump(mode="json"),
    message:
        "Write the data card"
    script:
        "../scripts/write_data_card.py"
