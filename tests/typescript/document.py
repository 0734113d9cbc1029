"""Print the OpenAPI document of a server on a small index, for `.ci/run`."""

import tempfile
from pathlib import Path

import make
from serving import site

from retrieval.settings import Settings


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = make.library(folder / "library", per_label=1)
        with site(Settings(home=folder / "home"), make.bundle(folder / "bundle"), photos) as built:
            print(built.client.get("/openapi.json").text)


if __name__ == "__main__":
    main()
