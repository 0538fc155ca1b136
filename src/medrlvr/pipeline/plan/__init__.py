"""What a run would do, before anything starts: jobs, reasons, time, GPU-hours, disk."""
