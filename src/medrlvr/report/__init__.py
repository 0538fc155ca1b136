"""Figures and report.html, from result files."""
