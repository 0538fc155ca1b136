"""OpenRLHF on a machine without GPU: version-guarded patches, used only by its processes."""
