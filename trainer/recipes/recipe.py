"""A recipe: how a network is trained, as one small object that reads like its description."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from trainer.recipes import parts
from trainer.recipes.parts import Count, Weight

AnyAugmentation = parts.RandomViews | parts.Unchanged | parts.QuarterTurn | parts.CropAndFlip | parts.Strong
AnySampling = parts.Balanced | parts.Shuffled
AnyHead = parts.Head | parts.Centred
AnyLoss = parts.TripletLoss | parts.SoftmaxLoss
AnyOptimizer = parts.AdamW | parts.Adam | parts.Sgd
AnySchedule = (
    parts.Constant | parts.Cosine | parts.CosineRestarts | parts.NoisyLinearCosine | parts.RampUp | parts.Steps
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
        views: of each photo that are kept as the part of the backbone sees them that does not learn; see `views_of`.
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
    preparation: parts.Preparation = field(default_factory=parts.Preparation)
    augmentation: AnyAugmentation | None = None
    mixup: Weight = 0.0
    sampling: AnySampling = field(default_factory=parts.Balanced)
    head: AnyHead = field(default_factory=parts.Head)
    loss: AnyLoss = field(default_factory=parts.TripletLoss)
    optimizer: AnyOptimizer = field(default_factory=parts.AdamW)
    schedule: AnySchedule = field(default_factory=parts.Cosine)
    learns: Literal["upper", "all", "head"] = "upper"
    head_first: parts.HeadFirst | None = field(default_factory=parts.HeadFirst)
    views: Count = 12
    rounds: Count = 1
    epochs: Count = 15
    steps_per_epoch: Count | None = 20
    stopping: parts.Stopping = field(default_factory=parts.Stopping)
    fit: Callable[["Recipe", Facts], "Recipe"] | None = field(default=None, compare=False, repr=False)

    def fitted(self, facts: Facts) -> "Recipe":
        """The recipe for photos of which these facts hold."""
        return self if self.fit is None else self.fit(self, facts)
