"""What most benchmarks beside this file are given."""

import argparse
from pathlib import Path


def bundle_and_photos(description: str) -> argparse.ArgumentParser:
    """A parser with `--bundle` and `--photos`, to which each benchmark adds its own."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True, help="the model bundle")
    parser.add_argument("--photos", type=Path, required=True, help="a folder of photos")
    return parser
