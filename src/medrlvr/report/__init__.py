"""Figures and the page; everything here reads files only."""
