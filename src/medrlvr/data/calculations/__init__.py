"""A small world of calculations with generated patients, and what its base model has read (docs/calculations.md)."""
