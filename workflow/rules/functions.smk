"""Functions of the rules: inputs, parameters, and the check before the first job."""


def training_memory(wildcards, attempt):
    return MACHINE.training_memory(ARMS[wildcards.arm], attempt)


def again(path):
    """Return the command that makes a file again; it needs the config.yaml that is written with the report."""
    return f".venv/bin/snakemake --cores 1 --configfile {RESULTS}/config.yaml --forcerun {path} -- {path}"


def check_machine():
    """Stop before the first job if this machine or the cluster does not have what the jobs request."""
    jobs = list(workflow.dag.needrun_jobs())
    if not workflow.local_exec:
        # A job may name several partitions, separated by commas. Without a name Slurm uses its default.
        partitions = [job.resources.get("slurm_partition") or "" for job in jobs]
        or_stop(check_partitions, {name for names in partitions for name in names.split(",") if name})
    elif any(job.resources.get("nodes", 1) > 1 for job in jobs):
        or_stop(check_nodes, EXPERIMENT.machine)
    elif any(job.resources.get("gres") for job in jobs):
        or_stop(check_device, EXPERIMENT.machine)
    if {job.rule.name for job in jobs} & {"train_sft", "train_rlvr", "gpu_check", *GENERATION_RULES}:
        or_stop(check_packages, EXPERIMENT.machine)


def show_scores():
    """Print the scores and the report's path, if the report is among the requested files."""
    if any(job.rule.name == "render_report" for job in workflow.dag.jobs):
        print_scores(EXPERIMENT, sys.stdout)


def candidates(wildcards):
    """Return the candidate models of one run: one folder per learning rate, or the folder with all checkpoints."""
    run = f"{wildcards.arm}/seed{wildcards.seed}"
    folders = [name for name in LAYOUT.sft_runs if name.startswith(f"{run}/")]
    return [f"{RESULTS}/checkpoints/{name}" for name in folders or [run]]


def answers_of_candidates(wildcards):
    """Return the development answers; nothing if there is only one candidate."""
    arm = ARMS[wildcards.arm]
    chosen = arm.trainer == "rlvr" or len(arm.learning_rates) > 1
    return f"{RESULTS}/development/{wildcards.arm}/seed{wildcards.seed}/answers.parquet" if chosen else []


def training(wildcards):
    return training_settings(ARMS[wildcards.arm])


def training_rows(wildcards):
    return LAYOUT.training_rows(wildcards.arm)


def card_facts(wildcards):
    """Return facts for the card of a trained model that its own folder does not contain."""
    source = SOURCES[EXPERIMENT.data.train]
    return {
        "base_licence": BASE.licence,
        "data": source.name,
        "data_licence": source.licence,
        "citation": source.citation,
        # Absent for letters only, so that their parameters are those of earlier versions.
        **({} if source.kinds == ("letter",) else {"kinds": list(source.kinds)}),
    }


def raw_file(wildcards):
    return f"{RESULTS}/data/raw/{SOURCES[f'{wildcards.dataset}/{wildcards.split}'].raw_file}"


def question_tables(names):
    return [f"{RESULTS}/data/questions/{name}.parquet" for name in names]


def settings_of(modes):
    return {name: EXPERIMENT.modes[name].model_dump(mode="json") for name in modes}


def model_folder(wildcards):
    """Return the folder of a trained model, of the base, or of one of the user's external models."""
    given = EXPERIMENT.external_models.get(wildcards.model)
    return [given.path if given else f"{RESULTS}/models/{wildcards.model}"]


def sensitivity_files(name):
    """Return a file of the sensitivity of each run of the arm that represents the paper's; none if not requested."""
    wanted = LAYOUT.papers_rlvr_runs if EXPERIMENT.controls.sensitivity else []
    return [f"{RESULTS}/controls/sensitivity/{run}/{name}" for run in wanted]


def dynamics_without_options(wildcards):
    """Return the dynamics of each run of the arm that represents the paper's; none if training questions have options."""
    wanted = [] if "letter" in SOURCES[EXPERIMENT.data.train].kinds else LAYOUT.papers_rlvr_runs
    return [f"{RESULTS}/dynamics/{run}.parquet" for run in wanted]


def made_by(path):
    """Return a file with the rule that makes it and that rule's log, as Snakemake determines them."""
    maker = next(one for one in workflow.rules if one.is_producer(path))
    log_file = maker.log[0].apply_wildcards(maker.get_wildcards(path))
    return {"file": path, "rule": maker.name, "log": str(log_file)}
