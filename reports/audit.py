"""The page of an audit: one HTML file that needs no network and no script.

>>> from evalkit.fairness.audits.audit import Audit
>>> page = audit_page(Audit("ll144", "Bias audit", {"Date": "2023-05-01"}, ("All is said.",), ()))
>>> "<title>Bias audit</title>" in page, "<script" in page
(True, False)
"""

from __future__ import annotations

from evalkit.fairness.audits.audit import Audit
from evalkit.reports.part import render, source

_TONES = {"bad": "worse", "good": "better", "open": ""}


def audit_page(audit: Audit) -> str:
    """Returns an audit as one HTML page.

    Raises:
        MissingExtra: Jinja is not installed.
    """
    tables = [
        {
            "table": table,
            "key": f"table-{number}",
            "badges": {text: _TONES[tone] for text, tone in table.tones.items()},
        }
        for number, table in enumerate(audit.tables)
    ]
    return render("audit.html", audit=audit, tables=tables, style=source("page.css") + source("audit.css"))
