"""A recipe: how a network is trained, as one small object that reads like its description."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from trainer.recipes import components
from trainer.recipes.components import Count, Weight

AnyAugmentation = (
    components.RandomViews | components.Unchanged | components.QuarterTurn | components.CropAndFlip | components.Strong
)
AnySampling = components.Balanced | components.Shuffled
AnyHead = components.Head | components.MeanCentred
AnyLoss = components.TripletLoss | components.SoftmaxLoss
AnyOptimizer = components.AdamW | components.Adam | components.Sgd
AnySchedule = (
    components.Constant
    | components.Cosine
    | components.CosineRestarts
    | components.NoisyLinearCosine
    | components.RampUp
    | components.Steps
)


@dataclass(frozen=True)
class Facts:
    """What a recipe may depend on.

    Attributes:
        examples: training photos.
        area: the median of their areas, in pixels.
    """

    examples: int
    area: float


class Fault(NamedTuple):
    """What a recipe does wrong, and the settings, each as `--set` takes it, of which any one may have mended it."""

    phrase: str
    settings: tuple[str, ...]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained, whatever its backbone.

    Attributes:
        name: what the command line calls it.
        description: one line for `lookalike recipes`.
        faults: what it does wrong on purpose, because the experiment that it repeats did, and nobody has mended.
        dimension: length of the embeddings.
        preparation: how a photo becomes an input.
        augmentation: of training photos; None: what suits the backbone.
        mixup: how evenly pairs of photos are mixed (Zhang et al., "mixup", 2018), as the part of the network sees them
            that learns (Verma et al., "Manifold Mixup", 2019): α of a beta distribution; 0: not.
        sampling: which photos make a batch.
        head: from features to the embedding.
        loss: what is minimised.
        optimizer: how, and at which rates.
        schedule: how the rates change.
        learns: `upper`: the backbone's upper part, its batch normalisation at rest, or all of a backbone that has no
            trained weights; `all`: every weight; `head`: the head alone.
        head_first: how the head is trained before the backbone follows; None: both at once.
        views: number of augmented views per photo whose activations of the frozen lower layers are cached; see
            `augmented_views`.
        rounds: where the backbone has trained weights, the epochs are shared out among so many trainings that all begin
            where the head's own ended, and measured and kept is the mean of their weights; see `Soup`.
        epochs: at most so many.
        steps_per_epoch: batches between two looks at the validation photos; None: as many as show every photo once.
        stopping: when training ends, and which weights are kept.
        fit: what the recipe becomes where it depends on the photos.
    """

    name: str
    description: str
    faults: tuple[Fault, ...] = ()
    dimension: Count = 128
    preparation: components.Preparation = field(default_factory=components.Preparation)
    augmentation: AnyAugmentation | None = None
    mixup: Weight = 0.0
    sampling: AnySampling = field(default_factory=components.Balanced)
    head: AnyHead = field(default_factory=components.Head)
    loss: AnyLoss = field(default_factory=components.TripletLoss)
    optimizer: AnyOptimizer = field(default_factory=components.AdamW)
    schedule: AnySchedule = field(default_factory=components.Cosine)
    learns: Literal["upper", "all", "head"] = "upper"
    head_first: components.HeadFirst | None = field(default_factory=components.HeadFirst)
    views: Count = 12
    rounds: Count = 1
    epochs: Count = 15
    steps_per_epoch: Count | None = 20
    stopping: components.Stopping = field(default_factory=components.Stopping)
    fit: Callable[["Recipe", Facts], "Recipe"] | None = field(default=None, compare=False, repr=False)

    def fitted(self, facts: Facts) -> "Recipe":
        """The recipe for photos of which these facts hold."""
        return self if self.fit is None else self.fit(self, facts)
