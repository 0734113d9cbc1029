"""The experiments of the 2020 notebooks, reproduced with their faults.

Source: Sayak Paul and Dipam Paul, "A Barebones Image Retrieval System". An experiment is a recipe together with
`--backbone`, `--dimension` and data. Recipes share the settings of `FACENET` unless they replace them.
"""

from dataclasses import replace

from trainer.recipes import components
from trainer.recipes.recipe import Fault, Recipe

SQUASHED = Fault("photos are squashed without antialiasing", ("preparation.resize", "preparation.antialias"))
UNIT_PIXELS = Fault("pixels are divided by 255, not normalized as in pretraining", ("preparation.pixels",))
UNBALANCED = Fault("batches are not balanced by class", ("sampling",))
SHARED_FAULTS = (SQUASHED, UNIT_PIXELS, UNBALANCED)

AS_RUN = components.Preparation(pixels="unit", resize="squash", antialias=False, size=224, train_size=224)
TRIPLETS = components.TripletLoss(triplets="semihard", margin=1.0, proxies=0)
NO_EARLY_STOPPING = components.Stopping(on="loss", patience=None, keep="last")

FACENET = Recipe(
    name="notebook-facenet",
    description="Experiments 2-5: semi-hard triplets, Adam at 1e-5 to 5e-5, early stopping on the validation loss",
    faults=SHARED_FAULTS,
    preparation=AS_RUN,
    augmentation=components.Unchanged(),
    sampling=components.Shuffled(batch_size=64),
    head=components.Head(dropout=0, hidden=2048),
    loss=TRIPLETS,
    optimizer=components.Adam(pretrained=5e-5, fresh=5e-5),
    schedule=components.RampUp(start=1e-5, epochs=5, sustained=0, decay=0.8, minimum=1e-5),
    learns="all",
    head_first=None,
    epochs=50,
    steps_per_epoch=None,
    stopping=components.Stopping(on="loss", patience=2),
)

CLASSIFIER = replace(
    FACENET,
    name="notebook-classifier",
    description="Experiment 1: a softmax classifier; the 512 activations before the softmax are the embedding",
    dimension=512,
    head=components.Head(dropout=0, relu=True),
    loss=components.SoftmaxLoss(dropout=0.5),
    epochs=15,
)

FACENET_NO_STOP = replace(
    FACENET,
    name="notebook-facenet-no-stop",
    description="Experiment 6: notebook-facenet without early stopping; keeps the weights of the last epoch",
    stopping=NO_EARLY_STOPPING,
)

AUGMENTATION = replace(
    FACENET,
    name="notebook-augmentation",
    description="Experiments 7 and 8: notebook-facenet on training photos that are rotated by 90° and flipped",
    faults=(*SHARED_FAULTS, Fault("only the training photos are rotated by 90°", ("augmentation",))),
    augmentation=components.QuarterTurn(),
)

AUGMENTATION_NO_STOP = replace(
    AUGMENTATION,
    name="notebook-augmentation-no-stop",
    description="Experiment 9: notebook-augmentation without early stopping; keeps the weights of the last epoch",
    stopping=NO_EARLY_STOPPING,
)

STRONG = replace(
    FACENET,
    name="notebook-strong-augmentation",
    description="Experiments 10 and 11: notebook-facenet with random flips, crops, colour jitter and greyscale",
    augmentation=components.Strong(),
)

SGD = replace(
    FACENET,
    name="notebook-sgd-cosine",
    description="Experiment 12: notebook-facenet with SGD at 0.1 and cosine decay over 1,000 steps; failed",
    faults=(
        *SHARED_FAULTS,
        Fault("the learning rate is so high that the embeddings collapse", ("optimizer.pretrained", "optimizer.fresh")),
    ),
    optimizer=components.Sgd(pretrained=0.1, fresh=0.1, momentum=0),
    schedule=components.Cosine(warm_up=0, steps=1000),
)

SGD_RESTARTS = replace(
    SGD,
    name="notebook-sgd-restarts",
    description="Experiment 13: notebook-sgd-cosine with warm restarts, the first after 1,000 steps; failed",
    schedule=components.CosineRestarts(steps=1000),
)

SGD_NOISY = replace(
    SGD,
    name="notebook-sgd-noisy",
    description="Experiment 14: notebook-sgd-cosine with noisy linear cosine decay over 1,000 steps; failed",
    schedule=components.NoisyLinearCosine(steps=1000),
)

BIT_FROZEN = replace(
    FACENET,
    name="notebook-bit-frozen",
    description="Experiment 15: a frozen backbone and a dense layer initialized to zeros; the loss stays at the margin",
    faults=(*SHARED_FAULTS, Fault("all embeddings are zero and get no gradient", ("head.zeros",))),
    head=components.Head(dropout=0, zeros=True),
    learns="head",
)

BIT = replace(
    FACENET,
    name="notebook-bit",
    description="Experiment 16: a dense layer on the backbone, trained by the notebook's version of BiT-HyperRule",
    faults=(
        *SHARED_FAULTS,
        Fault(
            "the learning-rate factors omit 0.01, and all changes are in the first 400 of 4,000 steps",
            ("schedule", "schedule.boundaries", "schedule.factors"),
        ),
        Fault("training uses crops of 128 px, evaluation 160 px", ("preparation.size", "preparation.train_size")),
    ),
    preparation=components.Preparation(pixels="unit", resize="squash", antialias=False, size=160, train_size=128),
    augmentation=components.CropAndFlip(),
    head=components.Head(dropout=0),
    optimizer=components.Sgd(pretrained=0.003 * 64 / 512, fresh=0.003 * 64 / 512, momentum=0.9),
    schedule=components.Steps(boundaries=(200, 300, 400), factors=(1.0, 0.1, 0.001, 0.0001)),
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
