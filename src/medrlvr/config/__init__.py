"""The experiment as typed settings: the only source of `config/config.yaml` and `config/schema.json`.

The defaults are the paper's experiment. A docstring that begins with "Paper" explains a value that arXiv 2502.19655
states; "Ours" is our choice where the paper is silent. Overlays such as config/miniature.yaml contain what differs.
"""
