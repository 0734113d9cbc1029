"""Training recipes: how a network is trained, as one small object that reads like its description."""

from dataclasses import dataclass, field

from retrieval.errors import LookalikeError


@dataclass(frozen=True)
class Augmentation:
    """How one view of a training photo differs from the next.

    Attributes:
        smallest_area: a view shows at least this share of the photo's area.
        stretch: its aspect ratio changes by a factor within 1/stretch…stretch.
        colour: brightness, contrast and saturation each change by a factor within 1 ± colour.
        flip: whether half of the views are mirrored.
    """

    smallest_area: float = 0.2
    stretch: float = 4 / 3
    colour: float = 0.2
    flip: bool = True


@dataclass(frozen=True)
class Head:
    """From features to the embedding: dropout, then one dense layer."""

    dropout: float = 0.5


@dataclass(frozen=True)
class Loss:
    """Triplet loss, and beside it a classification by the nearest class proxy, which steadies it on noisy labels.

    Attributes:
        margin: of the semi-hard triplet loss, in Euclidean distance between embeddings of unit length.
        proxies: weight of the classification term; 0 leaves the triplet loss alone.
        temperature: what cosine similarities to the proxies are divided by.
        label_smoothing: how much of each label is spread over all classes.
    """

    margin: float = 1.0
    proxies: float = 0.5
    temperature: float = 0.1
    label_smoothing: float = 0.1


@dataclass(frozen=True)
class AdamW:
    """AdamW with a warm-up of some steps, then a cosine decay to 0.

    Attributes:
        pretrained: learning rate of the layers that start with trained weights.
        fresh: learning rate of the layers that start with random weights.
        weight_decay: decoupled, as a share of the learning rate.
        warm_up: steps.
    """

    pretrained: float = 3e-4
    fresh: float = 1e-3
    weight_decay: float = 1e-2
    warm_up: int = 20


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        name: what the command line calls it.
        description: one line for `lookalike recipes`.
        batch_size: photos in a P×K class-balanced batch.
        augmentation: of training photos; None: what suits the backbone.
        head_steps: steps that train the head alone, on features of a frozen backbone, before the backbone follows;
            left out where the backbone has no trained weights.
        head_views: views of each photo that these features are computed of.
        epochs: at most so many.
        steps_per_epoch: batches between two looks at the validation photos.
        patience: training ends after so many epochs without a better MAP@R on the validation photos.
    """

    name: str
    description: str
    batch_size: int = 60
    augmentation: Augmentation | None = None
    head: Head = field(default_factory=Head)
    loss: Loss = field(default_factory=Loss)
    optimizer: AdamW = field(default_factory=AdamW)
    head_steps: int = 300
    head_views: int = 6
    epochs: int = 8
    steps_per_epoch: int = 20
    patience: int = 5


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="default",
            description="Head first, then the backbone's upper part; semi-hard triplets and class proxies, P×K batches",
        ),
    )
}


def recipe_named(name: str) -> Recipe:
    """The recipe of that name; raises `LookalikeError` where there is none."""
    if name not in RECIPES:
        raise LookalikeError(f"There is no recipe {name!r}.", f"Choose one of {', '.join(RECIPES)}.")
    return RECIPES[name]
