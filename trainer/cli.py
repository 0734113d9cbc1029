"""The commands train, evaluate, compare, recipes and backbones. Only training imports TensorFlow."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from rich.markup import escape
from rich.table import Table

from retrieval.bundle import check_target, load_bundle
from retrieval.bundle_format import Precision
from retrieval.console import Exclude, IncludeHidden, JsonFlag, print_result, say
from retrieval.decoder import PhotoDecoder
from retrieval.embedder import Embedder
from retrieval.errors import LookalikeError
from retrieval.listing import LabelFrom
from retrieval.listing_options import ListingOptions
from retrieval.parts import Parts
from retrieval.photo_ref import PhotoRef
from retrieval.settings import Settings, load_settings
from trainer.backbones import BACKBONES, FAMILIES, backbone_named
from trainer.backbones.imported import check_weights
from trainer.data import Dataset, labels_of, load_dataset, read_all, report_known_photos
from trainer.extra import import_tensorflow, silence_tensorflow
from trainer.indexed import INDEX, IndexedPhotos, read_indexed
from trainer.recipes import PRETRAINED, RECIPES, Recipe, recipe_named
from trainer.recipes.head_only import check_head_only, head_only_changes
from trainer.recipes.overrides import override, settings_of
from trainer.recipes.pretrained import PretrainedRecipe
from trainer.roles import roles_of
from trainer.sampling import slices
from trainer.splits import DrawSplits, hashed_splits, stratified_splits

DEFAULT_BACKBONE = "efficientnet_lite0"

PHOTOS, TRAINING, OUTPUT = "Photos and splits", "Training", "Output and progress"  # groups of options in the help

DataOption = Annotated[
    str,
    typer.Option(
        "--data",
        help="A folder with one subfolder per class, a CSV, JSONL or Parquet manifest, tfds:NAME, digits, or index: "
        "(the photos of the index with their labels).",
    ),
]
SplitsOption = Annotated[
    Path | None,
    typer.Option(
        "--splits",
        help="A CSV file with the columns path,label,split; paths are relative to the data set.",
        rich_help_panel=PHOTOS,
    ),
]
UnseenOption = Annotated[
    list[str] | None,
    typer.Option(
        "--unseen-class",
        help="A class to use for testing only; give this option at least twice.",
        rich_help_panel=PHOTOS,
    ),
]


LabelFromOption = Annotated[
    LabelFrom | None,
    typer.Option(
        help="Source of the labels. Default: folder names, or the column `label` of a manifest.", rich_help_panel=PHOTOS
    ),
]


def train(  # noqa: PLR0917 - a command line is all options
    data: DataOption,
    out: Annotated[Path, typer.Option(help="Folder of the new bundle.")],
    backbone: Annotated[str, typer.Option(help="Name of a backbone; see `lookalike backbones`.")] = DEFAULT_BACKBONE,
    recipe: Annotated[str, typer.Option(help="Name of a recipe; see `lookalike recipes`.")] = "default",
    weights: Annotated[
        str,
        typer.Option(
            help="auto (pretrained if the backbone has such weights), none (random) or a file.",
            rich_help_panel=TRAINING,
        ),
    ] = "auto",
    seed: Annotated[
        int,
        typer.Option(min=0, max=2**31, help="Seed of splits, batches and random weights.", rich_help_panel=TRAINING),
    ] = 0,
    seeds: Annotated[
        int,
        typer.Option(
            min=1,
            max=100,
            help="Number of training runs, with the seeds SEED, SEED + 1, …; the best model is kept.",
            rich_help_panel=TRAINING,
        ),
    ] = 1,
    dimension: Annotated[
        int | None,
        typer.Option(
            min=2, max=4096, help="Length of the embeddings. Default: set by the recipe.", rich_help_panel=TRAINING
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Maximum number of epochs. Default: set by the recipe.", rich_help_panel=TRAINING),
    ] = None,
    changed: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SETTING=VALUE",
            help="Change a setting of the recipe; see `lookalike recipes RECIPE`.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    splits: SplitsOption = None,
    unseen_class: UnseenOption = None,
    label_from: LabelFromOption = None,
    include_hidden: IncludeHidden = False,
    exclude: Exclude = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume an interrupted training.", rich_help_panel=TRAINING)
    ] = False,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Folder for TensorBoard logs.", rich_help_panel=OUTPUT)
    ] = None,
    mixed_precision: Annotated[
        bool | None,
        typer.Option(
            help="Train with bfloat16 computations. Default: on for GPUs that support it.", rich_help_panel=TRAINING
        ),
    ] = None,
    quantize: Annotated[
        Precision,
        typer.Option(
            help="int8: faster on CPUs. Falls back to float32, with a message, if it reduces retrieval quality.",
            rich_help_panel=TRAINING,
        ),
    ] = "float32",
    progress: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the progress to this JSON file, once a second.", rich_help_panel=OUTPUT
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Train an embedding network on labelled photos, and write a model bundle with a report.

    With --backbone bundle:DIR, a head is trained on the embeddings of an imported network, which stays as it is.

    The recipe pretrained needs no labels and trains nothing: it makes a bundle of a pretrained network in seconds.

    The seed determines splits, batches and random weights. Results can still differ in the last digits, since the order
    in which threads add numbers varies. After --resume, dropout and uncached augmented views differ from those of an
    uninterrupted training.
    """
    silence_tensorflow()
    chosen, settings = backbone_named(backbone), load_settings()
    shorthands = {"dimension": dimension, "epochs": epochs}
    changes = [*(changed or ()), *(f"{name}={value}" for name, value in shorthands.items() if value is not None)]
    base = recipe_named(recipe)
    if not chosen.trainable:
        check_weights(weights)
        changes = head_only_changes(base, changes)
    override(base, changes)  # reports wrong settings before photos are read
    check_target(out)
    needs_labels = isinstance(base, Recipe)
    if not needs_labels:
        options = {"--seeds": seeds > 1, "--resume": resume, "--tensorboard": tensorboard is not None}
        options |= {"--mixed-precision": bool(mixed_precision), "--quantize": quantize != "float32"}
        _refuse_options_of_training(recipe, [option for option, is_given in options.items() if is_given])
    listing = ListingOptions(include_hidden, tuple(exclude or ()))
    dataset = _dataset(
        data, settings, splits, seed, unseen_class, label_from=label_from, needs_labels=needs_labels, options=listing
    )
    import_tensorflow()
    from trainer.tables import training_summary  # noqa: PLC0415 - imports SciPy

    if isinstance(base, PretrainedRecipe):
        from trainer.pretrained import PretrainedPlan, pretrained_bundle  # noqa: PLC0415 - imports TensorFlow

        say(f"Making a model of {backbone}, which is not trained …")
        pretrained = PretrainedPlan(chosen, override(base, changes), weights, tuple(changes))
        bundle = pretrained_bundle(dataset, pretrained, seed=seed, out=out, say=say)
    else:
        from trainer.devices import training_device  # noqa: PLC0415 - as above
        from trainer.pipeline import train_bundle  # noqa: PLC0415 - as above
        from trainer.runs import Plan  # noqa: PLC0415 - as above

        device = training_device()
        mixed = device.mixed_precision if mixed_precision is None else mixed_precision
        say(f"Training {backbone} with the recipe {recipe} on {device.name}{' in mixed precision' if mixed else ''}.")
        fitted = override(base.fitted(dataset.facts), changes)
        if not chosen.trainable:
            check_head_only(fitted)
        if fitted.faults:
            say(f"The recipe has the faults of its experiment: {'; '.join(fault.phrase for fault in fitted.faults)}.")
        plan = Plan(chosen, fitted, weights, tuple(changes), mixed, tensorboard, quantize, progress)
        bundle = train_bundle(dataset, plan, seed=seed, seeds=seeds, out=out, say=say, resume=resume)
    result = {
        "bundle": bundle.folder,
        "model_id": bundle.model_id,
        "report": bundle.folder / "training" / "report.html",
        "metrics": bundle.manifest.metrics,
    }
    print_result(result, as_json, training_summary(bundle))


def evaluate(  # noqa: PLR0917 - as above
    bundle: Annotated[Path, typer.Option(help="The bundle to evaluate.")],
    data: DataOption,
    split: Annotated[str, typer.Option(help="The split to evaluate on: train, val or test.")] = "test",
    splits: SplitsOption = None,
    unseen_class: UnseenOption = None,
    look: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Weight of the part look, 0 to 1. Default: set by the model."),
    ] = None,
    label_from: LabelFromOption = None,
    include_hidden: IncludeHidden = False,
    exclude: Exclude = None,
    as_json: JsonFlag = False,
) -> None:
    """Evaluate how well a bundle retrieves photos: each photo of a split is a query among the others.

    Without labels, only the metrics of edited copies are computed, on at most 1,000 photos drawn at random.
    """
    from retrieval.analysis.evaluation import evaluate_by_look, evaluate_embeddings  # noqa: PLC0415 - imports scikit-learn
    from trainer.tables import evaluation_table  # noqa: PLC0415 - as above

    model, settings = load_bundle(bundle), load_settings()
    known = model.photo_splits()
    draw: DrawSplits = stratified_splits if known is None else partial(hashed_splits, known=known)
    seed = model.manifest.seed or 0
    listing = ListingOptions(include_hidden, tuple(exclude or ()))
    dataset = _dataset(
        data, settings, splits, seed, unseen_class, draw, label_from=label_from, needs_labels=False, options=listing
    )
    report_known_photos(dataset, split, known or {}, say)
    photos = dataset.split(split)
    labels, roles = labels_of(photos), roles_of(photos)
    parts, embedder = Parts(model.manifest.parts), Embedder(model, settings.embedding_threads, settings.device)
    embeddings, copies = (_embeddings(photos, embedder, dataset.decoder, edited) for edited in (False, True))
    weighted, weighted_copies = parts.weighted(embeddings, look), parts.weighted(copies, look)
    by_look = evaluate_by_look(embeddings, labels, copies, parts, roles)
    metrics = evaluate_embeddings(weighted, labels, roles=roles, copies=weighted_copies).metrics()
    metrics = metrics.model_copy(update={"by_look": by_look})
    untrained, trained_on = model.manifest.metrics.untrained, model.manifest.training_data
    if trained_on is None or dataset.digest != trained_on.digest:
        untrained = None
        say("Metrics of the untrained backbone are omitted: they are only known for the training's data and splits.")
    before = untrained.of(split) if untrained else None
    result = {"model_id": model.model_id, "split": split, **metrics.model_dump(mode="json"), "untrained": before}
    print_result(result, as_json, evaluation_table(metrics, before))


def compare(
    bundles: Annotated[list[Path], typer.Argument(help="The bundles to compare.", metavar="BUNDLE…")],
    split: Annotated[str, typer.Option(help="The split to compare the metrics of: test or val.")] = "test",
    out: Annotated[
        Path | None, typer.Option(help="Also write a page (.html) or a chart (.svg, .png) to this file.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Compare bundles by the metrics of their training, in a table and a chart."""
    from trainer.comparison import check_chart_target, entry_of, write_comparison  # noqa: PLC0415 - as above
    from trainer.tables import comparison_table  # noqa: PLC0415 - as above

    if out is not None:
        check_chart_target(out)
    entries = [entry_of(load_bundle(bundle), split) for bundle in bundles]
    if len({entry.data for entry in entries}) > 1:
        say("The bundles were evaluated on different photos or splits, so their metrics are not comparable.")
    if out is not None:
        write_comparison(out, entries, split)
    result = {"split": split, "bundles": [entry.as_dict() for entry in entries], "figure": out}
    print_result(result, as_json, comparison_table(entries))


def recipes(
    name: Annotated[str | None, typer.Argument(help="List the settings of this recipe.", metavar="[RECIPE]")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List the training recipes, or the settings of one."""
    known: list[Recipe | PretrainedRecipe] = [*RECIPES.values(), PRETRAINED]
    chosen = known if name is None else [recipe_named(name)]
    described = [
        {
            "name": one.name,
            "description": one.description,
            "faults": [fault.phrase for fault in one.faults],
            "settings": settings_of(one),
        }
        for one in chosen
    ]
    print_result({"recipes": described}, as_json, _table(_recipe_rows(described, with_settings=name is not None)))


def backbones(as_json: JsonFlag = False) -> None:
    """List the backbone networks."""
    lines = {backbone.name: backbone.description for backbone in BACKBONES.values()} | FAMILIES
    described = [{"name": name, "description": description} for name, description in lines.items()]
    print_result(
        {"backbones": described}, as_json, _table((name, escape(description)) for name, description in lines.items())
    )


def _embeddings(
    photos: Sequence[PhotoRef], embedder: Embedder, decoder: PhotoDecoder, edited: bool
) -> npt.NDArray[np.float32]:
    """Embed photos, or edited copies of them: float32 [photos, d]."""
    pixels = (read_all(photos[batch], embedder.bundle.resize, decoder, edited=edited) for batch in slices(len(photos)))
    return np.concatenate([embedder.embed(of_batch) for of_batch in pixels])


def _refuse_options_of_training(recipe: str, options: Sequence[str]) -> None:
    if options:
        raise LookalikeError(f"The recipe {recipe} trains nothing: {', '.join(options)} can't be used.", "Omit them.")


def _dataset(  # noqa: PLR0917 - as above
    data: str,
    settings: Settings,
    splits: Path | None,
    seed: int,
    unseen: list[str] | None,
    draw: DrawSplits = hashed_splits,
    *,
    label_from: LabelFrom | None,
    needs_labels: bool,
    options: ListingOptions,
) -> Dataset:
    return load_dataset(
        data,
        settings.home,
        say,
        splits=splits,
        seed=seed,
        unseen=unseen or (),
        decoder=PhotoDecoder(settings.source_policy()),
        draw=draw,
        label_from=label_from,
        needs_labels=needs_labels,
        options=options,
        indexed=_indexed(settings, label_from, options) if data == INDEX else None,
    )


def _indexed(settings: Settings, label_from: LabelFrom | None, options: ListingOptions) -> IndexedPhotos:
    """Return the photos of the index; raise `LookalikeError` if an option is given that is about files or folders."""
    if label_from not in (None, "none") or options != ListingOptions():
        raise LookalikeError(
            f"With --data {INDEX}, the photos and labels are those of the index.",
            "Omit --label-from (except for none), --include-hidden and --exclude.",
        )
    return read_indexed(settings, say)


def _recipe_rows(recipes: list[dict[str, Any]], with_settings: bool) -> Iterator[tuple[str, str]]:
    for recipe in recipes:
        faults = f"\n[dim]faults of the experiment: {escape('; '.join(recipe['faults']))}[/dim]"
        yield recipe["name"], escape(recipe["description"]) + (faults if recipe["faults"] else "")
        for setting, value in recipe["settings"].items() if with_settings else ():
            yield f"  --set {setting}=", value


def _table(rows: Iterable[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    for row in rows:
        table.add_row(*row)
    return table
