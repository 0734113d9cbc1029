"""The experiments of the notebooks of 2020, as they were run, faults included.

Source: Sayak Paul and Dipam Paul, "A Barebones Image Retrieval System". A recipe does not say which backbone it is for:
an experiment is a recipe with `--backbone`, `--dimension` and data. Where an experiment says nothing else, the shared
settings of `FACENET` hold.
"""

from dataclasses import replace

from trainer.recipes.components import (
    Adam,
    Cosine,
    CosineRestarts,
    CropAndFlip,
    Head,
    NoisyLinearCosine,
    Preparation,
    QuarterTurn,
    RampUp,
    Sgd,
    Shuffled,
    SoftmaxLoss,
    Steps,
    Stopping,
    Strong,
    TripletLoss,
    Unchanged,
)
from trainer.recipes.recipe import Fault, Recipe

SQUASHED = Fault("photos squashed without antialiasing", ("preparation.resize", "preparation.antialias"))
UNIT_PIXELS = Fault("pixels divided by 255, whatever the backbone expects", ("preparation.pixels",))
UNBALANCED = Fault("batches without class balance", ("sampling",))
SHARED_FAULTS = (SQUASHED, UNIT_PIXELS, UNBALANCED)

AS_RUN = Preparation(pixels="unit", resize="squash", antialias=False, size=224, train_size=224)
TRIPLETS = TripletLoss(triplets="semihard", margin=1.0, proxies=0)
TO_THE_END = Stopping(on="loss", patience=None, keep="last")

FACENET = Recipe(
    name="notebook-facenet",
    description="Experiments 2-5: semi-hard triplets, Adam at 1e-5 to 5e-5, stops on the validation loss",
    faults=SHARED_FAULTS,
    preparation=AS_RUN,
    augmentation=Unchanged(),
    sampling=Shuffled(batch_size=64),
    head=Head(dropout=0, hidden=2048),
    loss=TRIPLETS,
    optimizer=Adam(pretrained=5e-5, fresh=5e-5),
    schedule=RampUp(start=1e-5, epochs=5, sustained=0, decay=0.8, minimum=1e-5),
    learns="all",
    head_first=None,
    epochs=50,
    steps_per_epoch=None,
    stopping=Stopping(on="loss", patience=2),
)

CLASSIFIER = replace(
    FACENET,
    name="notebook-classifier",
    description="Experiment 1: a softmax classifier, whose 512 features before the softmax are the embedding",
    dimension=512,
    head=Head(dropout=0, relu=True),
    loss=SoftmaxLoss(dropout=0.5),
    epochs=15,
)

FACENET_NO_STOP = replace(
    FACENET,
    name="notebook-facenet-no-stop",
    description="Experiment 6: notebook-facenet for all its 50 epochs, whose last weights are kept",
    stopping=TO_THE_END,
)

AUGMENTATION = replace(
    FACENET,
    name="notebook-augmentation",
    description="Experiments 7 and 8: notebook-facenet on photos that are turned by 90° and mirrored",
    faults=(*SHARED_FAULTS, Fault("every training photo is turned by 90°, no validation photo is", ("augmentation",))),
    augmentation=QuarterTurn(),
)

AUGMENTATION_NO_STOP = replace(
    AUGMENTATION,
    name="notebook-augmentation-no-stop",
    description="Experiment 9: notebook-augmentation for all its 50 epochs, whose last weights are kept",
    stopping=TO_THE_END,
)

STRONG = replace(
    FACENET,
    name="notebook-strong-augmentation",
    description="Experiments 10 and 11: notebook-facenet on photos mirrored, cropped, recoloured and grey at random",
    augmentation=Strong(),
)

SGD = replace(
    FACENET,
    name="notebook-sgd-cosine",
    description="Experiment 12: notebook-facenet with SGD at 0.1 and cosine decay over 1,000 steps; it failed",
    faults=(
        *SHARED_FAULTS,
        Fault("a learning rate at which the embeddings collapse", ("optimizer.pretrained", "optimizer.fresh")),
    ),
    optimizer=Sgd(pretrained=0.1, fresh=0.1, momentum=0),
    schedule=Cosine(warm_up=0, steps=1000),
)

SGD_RESTARTS = replace(
    SGD,
    name="notebook-sgd-restarts",
    description="Experiment 13: notebook-sgd-cosine with restarts, the first after 1,000 steps; it failed",
    schedule=CosineRestarts(steps=1000),
)

SGD_NOISY = replace(
    SGD,
    name="notebook-sgd-noisy",
    description="Experiment 14: notebook-sgd-cosine with a noisy linear cosine over 1,000 steps; it failed",
    schedule=NoisyLinearCosine(steps=1000),
)

BIT_FROZEN = replace(
    FACENET,
    name="notebook-bit-frozen",
    description="Experiment 15: a frozen backbone below a dense layer of zeros; the loss stays at the margin for ever",
    faults=(
        *SHARED_FAULTS,
        Fault("embeddings of zeros, which have no direction and no gradient", ("head.zeros",)),
    ),
    head=Head(dropout=0, zeros=True),
    learns="head",
)

BIT = replace(
    FACENET,
    name="notebook-bit",
    description="Experiment 16: a dense layer on the backbone and the notebook's version of BiT-HyperRule",
    faults=(
        *SHARED_FAULTS,
        Fault(
            "the rate skips a hundredth and changes at steps 200, 300, 400 of 4,000",
            ("schedule", "schedule.boundaries", "schedule.factors"),
        ),
        Fault("trained on crops of 128 pixels, measured at 160", ("preparation.size", "preparation.train_size")),
    ),
    preparation=Preparation(pixels="unit", resize="squash", antialias=False, size=160, train_size=128),
    augmentation=CropAndFlip(),
    head=Head(dropout=0),
    optimizer=Sgd(pretrained=0.003 * 64 / 512, fresh=0.003 * 64 / 512, momentum=0.9),
    schedule=Steps(boundaries=(200, 300, 400), factors=(1.0, 0.1, 0.001, 0.0001)),
    epochs=400,
    steps_per_epoch=10,
)

NOTEBOOKS = (
    CLASSIFIER,
    FACENET,
    FACENET_NO_STOP,
    AUGMENTATION,
    AUGMENTATION_NO_STOP,
    STRONG,
    SGD,
    SGD_RESTARTS,
    SGD_NOISY,
    BIT_FROZEN,
    BIT,
)
