"""The components of a recipe. Their fields and kinds are the settings of `--set`, and are stored in bundles."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from retrieval.images import ResizeRule

Count = Annotated[int, Field(gt=0)]
Whole = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Preparation:
    """How a photo becomes an input of the network. Sizes are in pixels; None: the backbone's default."""

    pixels: Literal["backbone", "unit"] = "backbone"  # as the backbone was pretrained, or divided by 255
    resize: Literal["crop", "squash"] = "crop"  # keep the aspect ratio and crop the centre, or change the ratio
    antialias: bool = True  # whether downscaling uses an antialiasing filter
    size: Count | None = None  # side of the network's input
    train_photo: Count | None = None  # side to which training photos are resized before augmentation
    train_size: Count | None = None  # side of the augmented views that the network is trained on

    def rule(self, of_backbone: ResizeRule) -> ResizeRule:
        """How photos are resized for evaluation and search."""
        return self._rule(self.size, of_backbone)

    def train_rule(self, of_backbone: ResizeRule) -> ResizeRule:
        """How training photos are resized before augmentation."""
        return self._rule(self.train_photo or self.size, of_backbone)

    def _rule(self, size: int | None, of_backbone: ResizeRule) -> ResizeRule:
        if self == Preparation():
            return of_backbone
        if size is None:
            size, shorter_side = of_backbone.size, of_backbone.shorter_side
        else:
            shorter_side = round(size * of_backbone.shorter_side / of_backbone.size)
        return ResizeRule(size=size, shorter_side=shorter_side, mode=self.resize, antialias=self.antialias)


@dataclass(frozen=True)
class RandomViews:
    """Random resized crops with horizontal flips and colour jitter."""

    smallest_area: Probability = 0.2  # minimum area of a crop, as a fraction of the photo's area
    stretch: Annotated[float, Field(ge=1)] = 4 / 3  # the aspect ratio is scaled by a random factor in 1/stretch…stretch
    colour: Share = 0.2  # brightness, contrast and saturation are each scaled by a random factor in 1 ± colour
    flip: bool = True  # whether half of the views are flipped horizontally


@dataclass(frozen=True)
class Unchanged:
    """No augmentation."""


@dataclass(frozen=True)
class QuarterTurn:
    """Every photo is rotated by 90° and then flipped horizontally."""


@dataclass(frozen=True)
class CropAndFlip:
    """Random square crops without rescaling, with horizontal flips."""

    flip: Probability = 0.5


@dataclass(frozen=True)
class Strong:
    """Random flips, crops, colour jitter and greyscale (Chen et al., "SimCLR", 2020)."""

    flip: Probability = 0.4  # probability of a horizontal flip
    crop: Probability = 0.3  # probability of a random crop from the padded photo; otherwise the centre is cropped
    padding: Whole = 36  # total padding per axis, in pixels
    jitter: Probability = 0.4  # probability of colour jitter
    brightness: Share = 0.48  # maximum offset of the brightness, as a fraction of white
    contrast: Share = 0.48  # the contrast is scaled by a random factor in 1 ± contrast
    saturation: Share = 0.48  # the saturation is scaled by a random factor in 1 ± saturation
    hue: Share = 0.12  # maximum offset of the hue, as a fraction of the colour circle
    grey: Probability = 0.6  # probability of a conversion to greyscale


@dataclass(frozen=True)
class Balanced:
    """P×K batches: P classes with K photos each, at most `batch_size` together."""

    batch_size: Annotated[int, Field(ge=4)] = 60


@dataclass(frozen=True)
class Shuffled:
    """Batches of shuffled photos, independent of their classes; the last batch of an epoch may be smaller."""

    batch_size: Annotated[int, Field(ge=4)] = 64


@dataclass(frozen=True)
class Head:
    """A multilayer perceptron from features to the embedding."""

    dropout: Share = 0.5  # dropout rate of the features
    hidden: Count | None = None  # width of a hidden layer with ReLU; None: no hidden layer
    relu: bool = False  # whether the output layer has a ReLU
    zeros: bool = False  # whether the kernel of the output layer is initialized to zeros instead of Glorot uniform


@dataclass(frozen=True)
class MeanCentred:
    """A head without trainable weights: unit-length features, minus their mean over the training photos, projected.

    A trained head discards features that its classes do not need but unseen classes may; this head keeps nearly all of
    them. Centring spreads features that share a large common component (Wang et al., "SimpleShot: Revisiting
    Nearest-Neighbor Classification for Few-Shot Learning", 2019). A frozen random orthogonal projection to the
    embedding's dimension approximately preserves angles (Johnson and Lindenstrauss, 1984).
    """

    kind: ClassVar[str] = "centred"
    dropout: Share = 0.5  # of the embedding


@dataclass(frozen=True)
class Look:
    """The part of the embedding that comes from the network without labels (`trainer.look`).

    Attributes:
        length: number of dimensions; fewer if the feature maps have fewer channels.
        weight: default weight of its cosine similarity in the score; the part kind has the rest.
    """

    length: Count = 160
    weight: Annotated[float, Field(gt=0, lt=1)] = 0.6


@dataclass(frozen=True)
class TripletLoss:
    """Triplet loss plus a weighted cross-entropy over learned class proxies, which is robust to noisy labels."""

    triplets: Literal["semihard", "hard"] = "semihard"  # triplet mining of TensorFlow Addons, semi-hard or hard
    margin: Positive = 1.0  # margin of the triplet loss, as a Euclidean distance between unit-length embeddings
    proxies: Weight = 0.5  # weight of the cross-entropy; 0: triplet loss only
    temperature: Positive = 0.1  # divisor of the cosine similarities to the proxies
    label_smoothing: Share = 0.1  # probability mass that is distributed evenly over all classes


@dataclass(frozen=True)
class SoftmaxLoss:
    """Cross-entropy of a softmax classifier on the embedding before it is scaled to unit length."""

    dropout: Share = 0.5  # of the classifier's input


@dataclass(frozen=True)
class AdamW:
    """AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019)."""

    pretrained: Positive = 3e-4  # base learning rate of pretrained layers
    fresh: Positive = 1e-3  # base learning rate of randomly initialized layers
    weight_decay: Weight = 1e-2  # decoupled weight decay, multiplied by the learning rate in each step


@dataclass(frozen=True)
class Adam:
    """Adam; for the learning rates see `AdamW`."""

    pretrained: Positive = 1e-3
    fresh: Positive = 1e-3


@dataclass(frozen=True)
class Sgd:
    """Stochastic gradient descent with momentum; for the learning rates see `AdamW`."""

    pretrained: Positive = 0.003
    fresh: Positive = 0.003
    momentum: Share = 0.9


@dataclass(frozen=True)
class Constant:
    """The base learning rate, after `warm_up` steps of linear warm-up from 0."""

    warm_up: Whole = 20


@dataclass(frozen=True)
class Cosine:
    """Cosine decay from the base learning rate to 0, after `warm_up` steps of linear warm-up from 0.

    The rate reaches 0 at the step `steps`; None: at the last step of training.
    """

    warm_up: Whole = 20
    steps: Count | None = None


@dataclass(frozen=True)
class CosineRestarts:
    """Cosine decay with warm restarts, each period twice as long as the last (Loshchilov and Hutter, "SGDR", 2017)."""

    steps: Count = 1000  # of the first period


@dataclass(frozen=True)
class NoisyLinearCosine:
    """Linear decay with Gaussian noise, times cosine decay (Bello et al., "Neural Optimizer Search", 2017).

    The noise can make the rate negative: in about one of six steps at the start.
    """

    steps: Count = 1000  # the step at which both decays reach 0
    variance: Weight = 1.0  # variance of the noise at the first step
    variance_decay: Weight = 0.55  # exponent with which the variance decreases over the steps
    floor: Weight = 0.001  # final learning rate, as a fraction of the base learning rate


@dataclass(frozen=True)
class RampUp:
    """Linear increase to the base learning rate, then exponential decay to a minimum; constant within an epoch."""

    start: Positive = 1e-5  # learning rate of the first epoch
    epochs: Whole = 5  # epochs of linear increase
    sustained: Whole = 0  # epochs at the base learning rate
    decay: Positive = 0.8  # factor per epoch by which the difference to the minimum decreases
    minimum: Weight = 1e-5  # limit of the decay


@dataclass(frozen=True)
class Steps:
    """Piecewise constant: the base learning rate times a factor that changes at given steps, after linear warm-up."""

    boundaries: tuple[Count, ...] = (200, 300, 400)  # steps at which the next factor takes effect, in ascending order
    factors: tuple[Weight, ...] = (1.0, 0.1, 0.01, 0.001)  # one factor per interval, one more than there are boundaries
    warm_up: Whole = 0  # steps of linear warm-up from 0


@dataclass(frozen=True)
class HeadFirst:
    """Training of the head alone on precomputed features of a pretrained backbone."""

    steps: Count = 300


@dataclass(frozen=True)
class Stopping:
    """Early stopping with patience, and which epoch's weights are kept."""

    on: Literal["map_at_r", "loss"] = "map_at_r"  # the monitored metric of the validation split, MAP@R or the loss
    patience: Count | None = 5  # epochs without improvement after which training stops; None: no early stopping
    keep: Literal["best", "last"] = "best"  # weights of the epoch with the best monitored metric, or of the last one
