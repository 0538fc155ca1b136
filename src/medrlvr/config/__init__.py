"""The experiment as typed settings: the only source of `config/config.yaml` and `config/schema.json`.

The defaults are the paper's experiment. A docstring that begins with "Paper" explains a value stated in arXiv
2502.19655; "Ours" marks our choice where the paper states none. Overlays such as config/miniature.yaml contain only
the settings that differ.
"""
