"""Before and during a run: preflight checks, resources, plan and status."""
