"""The check that a new site runs first on a GPU: `make gpu-check` (docs/gpu.md)."""
