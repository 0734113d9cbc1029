"""`lookalike demo`: runs the commands that a user would type, from training to the search page."""

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from retrieval.console import Exclude, IncludeHidden, JsonFlag, messages, print_result, say
from retrieval.errors import LookalikeError
from retrieval.listing import LabelFrom
from retrieval.listing_options import ListingOptions
from retrieval.settings import Settings, load_settings
from retrieval.wording import count_of
from trainer.datasets import DIGITS, TFDS_PREFIX, locate
from trainer.labels import names_kinds

FLOWERS = f"{TFDS_PREFIX}tf_flowers"


def demo(
    data: Annotated[
        str | None,
        typer.Option(help="Data set, as for `lookalike train`. Default: TF Flowers if available, otherwise digits."),
    ] = None,
    label_from: Annotated[
        LabelFrom | None,
        typer.Option(help="Source of the labels; none for photos without. Default: folders, unless they are dates."),
    ] = None,
    *,
    include_hidden: IncludeHidden = False,
    exclude: Exclude = None,
    no_serve: Annotated[bool, typer.Option("--no-serve", help="Stop after the cross-check.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Train, evaluate, index and cross-check, then serve the search page.

    Photos without labels are indexed with a pretrained network, in seconds.
    """
    start = time.perf_counter()
    settings = load_settings()
    data, photos, why = _choose(data, settings)
    bundle = settings.home / "demo" / photos.resolve().name
    listing = ListingOptions(include_hidden, tuple(exclude or ()), settings.home)
    without_labels = label_from == "none" or (label_from is None and not names_kinds(photos, listing))
    listed = (*(["--include-hidden"] if include_hidden else []), *(f"--exclude={pattern}" for pattern in exclude or ()))
    labels = listed if label_from is None else ("--label-from", label_from, *listed)
    if without_labels:
        say(f"{data} has no labels: a pretrained network finds photos of the same look.")
        labels = ("--label-from", "none", *listed)
        trained = _run("train", "--data", data, "--recipe", "pretrained", *labels, "--out", str(bundle))
        evaluation = trained["metrics"].get("test") or trained["metrics"]["val"]
    else:
        # The digits are small enough to train from scratch; photos start from the installed ImageNet weights.
        backbone = "small_cnn" if data == DIGITS else "efficientnet_lite0"
        _run("train", "--data", data, "--backbone", backbone, *labels, "--out", str(bundle))
        evaluation = _run("evaluate", "--bundle", str(bundle), "--data", data, *labels)
    indexed = _run("index", str(photos), *labels, "--bundle", str(bundle))
    _run("models", "activate", indexed["model"])
    checked = _run("crosscheck")

    result = {"data": data, "why": why, "labels": not without_labels, "bundle": str(bundle), "model": indexed["model"]}
    result |= {"evaluation": evaluation, "index": indexed, "crosscheck": checked}
    result |= {"seconds": round(time.perf_counter() - start, 1)}
    print_result(result, as_json, _summary(result))
    if not no_serve:
        sys.stdout.flush()
        messages.print("\n[bold]$ lookalike serve[/bold]")
        os.execv(sys.executable, [sys.executable, "-m", "lookalike", "serve"])


def _choose(data: str | None, settings: Settings) -> tuple[str, Path, str]:
    """Return the name of the data set, the folder or manifest of its photos, and why it was chosen."""
    if data is not None:
        return data, locate(data, settings.home), "it was given with --data"
    try:
        return FLOWERS, locate(FLOWERS, settings.home), "TF Flowers is available"
    except LookalikeError as error:
        say(
            f"{error.message} The demo uses scikit-learn's scanned digits instead, which need no download. "
            "To use your own photos: lookalike demo --data FOLDER",
            "yellow",
        )
        return DIGITS, locate(DIGITS, settings.home), error.message


def _run(*arguments: str) -> dict[str, Any]:
    """Show a command as a user types it, run it as a process, and return its result."""
    messages.print(f"\n[bold]$ {escape(shlex.join(['lookalike', *arguments]))}[/bold]", highlight=False, soft_wrap=True)
    command = [sys.executable, "-m", "lookalike", *arguments, "--json"]
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if finished.returncode != 0:
        raise LookalikeError(f"The demo stopped: `lookalike {arguments[0]}` failed; its message is above.")
    result: dict[str, Any] = json.loads(finished.stdout)
    return result


def _summary(result: dict[str, Any]) -> str:
    indexed = result["index"]
    return (
        f"\n{_trained(result) if result['labels'] else _not_trained(result)}\n"
        f"Indexed {count_of(indexed['indexed'] + indexed['unchanged'])}, {indexed['images_per_second']:.0f} per "
        f"second. The index returns {result['crosscheck']['recall_at_k']:.1%} of the exact nearest neighbours.\n"
        f"Report: {escape(result['bundle'])}/training/report.html"
    )


def _trained(result: dict[str, Any]) -> str:
    evaluation = result["evaluation"]
    return (
        f"Trained on [bold]{escape(result['data'])}[/bold]. On the test split, recall@1 is "
        f"{evaluation['recall_at_1']:.1%} and MAP@R {evaluation['map_at_r']:.3f}."
    )


def _not_trained(result: dict[str, Any]) -> str:
    commands = ["train", "--data", "LABELLED", "--out", "my-model"], ["index", result["data"], "--bundle", "my-model"]
    lines = "\n".join(f"  {escape(shlex.join(['lookalike', *command]))}" for command in commands)
    return (
        f"The photos of [bold]{escape(result['data'])}[/bold] have no labels, so the search compares how they look: "
        f"{result['evaluation']['copy_recall_at_1']:.1%} of edited copies find their original first.\n"
        f"Labels would teach it kinds. Sort a few hundred photos into a folder per kind, and run\n{lines}"
    )
