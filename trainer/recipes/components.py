"""What recipes are composed of: each part one decision, with the values that it can take."""

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
    """How a photo becomes an input of the network; where a size is None, the backbone's own.

    Attributes:
        pixels: `backbone`: normalised as the backbone's authors did; `unit`: divided by 255, whatever it expects.
        resize: `crop` keeps the aspect ratio, `squash` does not.
        antialias: whether a photo is smoothed as it is made smaller.
        size: side of the network's input, in pixels.
        train_photo: side to which training photos are resized, before they are augmented.
        train_size: side of the views that are trained on, after augmentation.
    """

    pixels: Literal["backbone", "unit"] = "backbone"
    resize: Literal["crop", "squash"] = "crop"
    antialias: bool = True
    size: Count | None = None
    train_photo: Count | None = None
    train_size: Count | None = None

    def rule(self, of_backbone: ResizeRule) -> ResizeRule:
        """How photos are resized that are measured or searched."""
        return self._rule(self.size, of_backbone)

    def train_rule(self, of_backbone: ResizeRule) -> ResizeRule:
        """How training photos are resized before they are augmented."""
        return self._rule(self.train_photo or self.size, of_backbone)

    def _rule(self, size: int | None, of_backbone: ResizeRule) -> ResizeRule:
        if size is None:
            size, shorter_side = of_backbone.size, of_backbone.shorter_side
        else:
            shorter_side = round(size * of_backbone.shorter_side / of_backbone.size)
        return ResizeRule(size=size, shorter_side=shorter_side, mode=self.resize, antialias=self.antialias)


@dataclass(frozen=True)
class RandomViews:
    """Random crops, mirrored or not, in slightly other colours.

    Attributes:
        smallest_area: a view shows at least this share of the photo's area.
        stretch: its aspect ratio changes by a factor within 1/stretch…stretch.
        colour: brightness, contrast and saturation each change by a factor within 1 ± colour.
        flip: whether half of the views are mirrored.
    """

    smallest_area: Probability = 0.2
    stretch: Annotated[float, Field(ge=1)] = 4 / 3
    colour: Share = 0.2
    flip: bool = True


@dataclass(frozen=True)
class Unchanged:
    """Every view is the photo itself."""


@dataclass(frozen=True)
class QuarterTurn:
    """Every view is the photo turned by 90° and then mirrored."""


@dataclass(frozen=True)
class CropAndFlip:
    """A random square of the photo, in its own scale, mirrored or not."""

    flip: Probability = 0.5


@dataclass(frozen=True)
class Strong:
    """Mirrored, cropped, in other colours and grey, each at random.

    Attributes:
        flip: probability of a mirrored view.
        crop: probability of a random crop from the photo padded by `padding` pixels altogether.
        padding: in pixels.
        jitter: probability of other colours.
        brightness: added, as a share of white.
        contrast: a factor within 1 ± contrast; so is `saturation`.
        saturation: see contrast.
        hue: added, as a share of the colour circle.
        grey: probability of a view without colours.
    """

    flip: Probability = 0.4
    crop: Probability = 0.3
    padding: Whole = 36
    jitter: Probability = 0.4
    brightness: Share = 0.48
    contrast: Share = 0.48
    saturation: Share = 0.48
    hue: Share = 0.12
    grey: Probability = 0.6


@dataclass(frozen=True)
class Balanced:
    """P×K batches: of several classes the same number of photos each.

    Attributes:
        batch_size: P·K at most.
    """

    batch_size: Annotated[int, Field(ge=4)] = 60


@dataclass(frozen=True)
class Shuffled:
    """All photos in random order, whatever their classes; the last batch of an epoch is what is left.

    Attributes:
        batch_size: photos in the other batches.
    """

    batch_size: Annotated[int, Field(ge=4)] = 64


@dataclass(frozen=True)
class Head:
    """From features to the embedding.

    Attributes:
        dropout: of the features.
        hidden: width of a dense layer with ReLU before the embedding's own; None: no such layer.
        relu: whether the embedding's layer has a ReLU, too.
        zeros: whether its weights begin at zero.
    """

    dropout: Share = 0.5
    hidden: Count | None = None
    relu: bool = False
    zeros: bool = False


@dataclass(frozen=True)
class MeanCentred:
    """The features, seen from the middle of the training photos, in place of a head that is learned.

    What a head learns to pass over may be what tells other classes apart; here nearly all of it stays. Features of unit
    length point into one corner of their space, so that their mean is taken away (Wang et al., "SimpleShot: Revisiting
    Nearest-Neighbor Classification for Few-Shot Learning", 2019). A random projection, which does not learn, brings
    them to the embedding's length and hardly changes their angles (Johnson and Lindenstrauss, 1984).

    Attributes:
        dropout: of the embedding, in training.
    """

    kind: ClassVar[str] = "centred"
    dropout: Share = 0.5


@dataclass(frozen=True)
class TripletLoss:
    """Triplet loss, and beside it a classification by the nearest class proxy, which steadies it on noisy labels.

    Attributes:
        triplets: which triplets a batch is held to, in the sense of TensorFlow Addons.
        margin: of the triplet loss, in Euclidean distance between embeddings of unit length.
        proxies: weight of the classification term; 0 leaves the triplet loss alone.
        temperature: what cosine similarities to the proxies are divided by.
        label_smoothing: how much of each label is spread over all classes.
    """

    triplets: Literal["semihard", "hard"] = "semihard"
    margin: Positive = 1.0
    proxies: Weight = 0.5
    temperature: Positive = 0.1
    label_smoothing: Share = 0.1


@dataclass(frozen=True)
class SoftmaxLoss:
    """Cross-entropy of a softmax layer on the embedding, before that is scaled to unit length.

    Attributes:
        dropout: of the embedding, before that layer.
    """

    dropout: Share = 0.5


@dataclass(frozen=True)
class AdamW:
    """AdamW.

    Attributes:
        pretrained: learning rate of the layers that start with trained weights.
        fresh: learning rate of the layers that start with random weights.
        weight_decay: decoupled, as a share of the learning rate.
    """

    pretrained: Positive = 3e-4
    fresh: Positive = 1e-3
    weight_decay: Weight = 1e-2


@dataclass(frozen=True)
class Adam:
    """Adam; see `AdamW`."""

    pretrained: Positive = 1e-3
    fresh: Positive = 1e-3


@dataclass(frozen=True)
class Sgd:
    """Stochastic gradient descent; see `AdamW`.

    Attributes:
        pretrained: see `AdamW`.
        fresh: see `AdamW`.
        momentum: how much of a step goes on in the next.
    """

    pretrained: Positive = 0.003
    fresh: Positive = 0.003
    momentum: Share = 0.9


@dataclass(frozen=True)
class Constant:
    """The optimizer's rate.

    Attributes:
        warm_up: steps in which the rate grows from 0 before.
    """

    warm_up: Whole = 20


@dataclass(frozen=True)
class Cosine:
    """From the optimizer's rate along a cosine to 0.

    Attributes:
        warm_up: steps in which the rate grows from 0 before.
        steps: where it reaches 0; None: at the end of training.
    """

    warm_up: Whole = 20
    steps: Count | None = None


@dataclass(frozen=True)
class CosineRestarts:
    """Along a cosine to 0, then from the start again, each time for twice as long (Loshchilov and Hutter, 2017).

    Attributes:
        steps: of the first cosine.
    """

    steps: Count = 1000


@dataclass(frozen=True)
class NoisyLinearCosine:
    """Along a straight line with noise, times half a cosine (Bello et al., "Neural Optimizer Search", 2017).

    The noise can turn the rate negative: at first about one time in six.

    Attributes:
        steps: where it reaches 0.
        variance: of the noise at the first step.
        variance_decay: the noise's variance falls with the step to this power.
        floor: what is left at the end, as a share of the optimizer's rate.
    """

    steps: Count = 1000
    variance: Weight = 1.0
    variance_decay: Weight = 0.55
    floor: Weight = 0.001


@dataclass(frozen=True)
class RampUp:
    """Epoch by epoch up to the optimizer's rate, then down to a minimum.

    Attributes:
        start: the rate of the first epoch.
        epochs: how long it grows.
        sustained: epochs at the optimizer's rate.
        decay: what is above the minimum shrinks by this factor each epoch.
        minimum: where it ends.
    """

    start: Positive = 1e-5
    epochs: Whole = 5
    sustained: Whole = 0
    decay: Positive = 0.8
    minimum: Weight = 1e-5


@dataclass(frozen=True)
class Steps:
    """The optimizer's rate times one factor after another.

    Attributes:
        boundaries: the steps at which the next factor begins.
        factors: one more than there are boundaries.
        warm_up: steps in which the rate grows from 0 before.
    """

    boundaries: tuple[Count, ...] = (200, 300, 400)
    factors: tuple[Weight, ...] = (1.0, 0.1, 0.01, 0.001)
    warm_up: Whole = 0


@dataclass(frozen=True)
class HeadFirst:
    """Where the backbone has trained weights, the head learns alone first, on features that are computed once.

    Attributes:
        steps: how long.
    """

    steps: Count = 300


@dataclass(frozen=True)
class Stopping:
    """When training ends before its last epoch, and which epoch's weights are kept.

    Attributes:
        on: what is watched on the validation photos: `map_at_r` or `loss`.
        patience: training ends after so many epochs without a better value; None: it goes on to the last.
        keep: the weights of the epoch with the best value, or of the last one.
    """

    on: Literal["map_at_r", "loss"] = "map_at_r"
    patience: Count | None = 5
    keep: Literal["best", "last"] = "best"
