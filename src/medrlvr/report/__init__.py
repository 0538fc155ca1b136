"""Result files to figures and report.html."""
