"""Reports for reviewers: an evaluation as one self-contained HTML file."""

if __name__ != "evalkit.reports":
    raise ImportError("This folder installs as evalkit.reports: import evalkit.reports, not reports.")

from evalkit.reports.page import write_report as write_report

__all__ = ["write_report"]
