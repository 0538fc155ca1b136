"""Run OpenRLHF on a machine without a GPU: patches of the pinned versions, applied only in OpenRLHF's processes."""
