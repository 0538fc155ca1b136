"""The plan of a run, before anything starts: jobs, reasons, time, GPU-hours, disk."""
