"""Use the grader in other frameworks: one thin module for each (docs/grader_in_your_trainer.md).

Each module passes on what its framework returns. `responses` restores what frameworks remove from a response, and
`questions` reads questions and writes the paper's prompt. Only `inspect_task` and `verifiers_taskset` import their
framework.
"""
