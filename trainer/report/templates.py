"""The HTML templates in this folder."""

from pathlib import Path
from typing import Any

import jinja2

from retrieval.metrics import ALL_METRICS, show


def render(template: str, **context: Any) -> str:
    """Return a self-contained HTML page; labels and names are escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["mean"] = show
    return environment.get_template(template).render(METRICS=ALL_METRICS, **context)
