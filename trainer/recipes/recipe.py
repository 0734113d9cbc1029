"""A recipe: all settings of a training in one frozen dataclass."""

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
    """The number of training photos and the median of their areas in pixels, on which a recipe may depend."""

    examples: int
    area: float


class Fault(NamedTuple):
    """A known mistake of a recipe, and the settings (as `--set` names them) any of which fixes it when changed."""

    phrase: str
    settings: tuple[str, ...]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained, independent of its backbone. All fields but the first three and `fit` are settings.

    Attributes:
        description: one line for `lookalike recipes`.
        faults: known mistakes of the experiment that the recipe reproduces, less those that `--set` has fixed.
        dimension: length of the embedding, or of its part kind if it has two parts.
        augmentation: random augmentation of training photos; None: the backbone's default.
        mixup: α of the beta distribution from which the mixing weights of MixUp are drawn (Zhang et al., "mixup",
            2018); 0: no MixUp. If lower layers are frozen, their activations are mixed instead of pixels (Verma et
            al., "Manifold Mixup", 2019).
        head: the layers from the backbone's features to the embedding, or to its part kind.
        look: the part look of the embedding; None: there is none.
        learns: the trainable layers. `upper`: the head and the upper layers of the backbone, except batch
            normalization (all layers if the backbone is not pretrained); `all`: all layers; `head`: the head. Batch
            normalization of a pretrained backbone always uses its stored statistics (inference mode).
        head_first: training of the head alone on the features of the frozen backbone, before fine-tuning; skipped if
            the backbone is not pretrained; None: no such phase.
        views: number of augmented views per photo whose activations of the frozen lower layers are cached; see
            `augmented_views`.
        rounds: number of fine-tuning runs whose weights are averaged (model soup, see `Soup`). The runs share the
            epochs and start from the same weights. One run if the backbone is not pretrained.
        epochs: maximum number of epochs.
        steps_per_epoch: batches per epoch, after each of which the network is evaluated on the validation split;
            None: as many as it takes to see every photo once.
        fit: adapts the recipe to the training split; None: it does not depend on it.
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
    look: components.Look | None = None
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
        """Return the recipe adapted to a training split with these properties."""
        return self if self.fit is None else self.fit(self, facts)
