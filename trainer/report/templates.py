"""The pages of this folder."""

from pathlib import Path
from typing import Any

import jinja2

from retrieval.analysis.evaluation import METRICS


def render(template: str, **context: Any) -> str:
    """One self-contained HTML page; labels and names in it are escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(METRICS=METRICS, **context)
