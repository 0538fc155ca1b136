"""The bench for hack detectors: loopholes in the miniature, and what the detectors find (docs/hack_bench.md)."""
