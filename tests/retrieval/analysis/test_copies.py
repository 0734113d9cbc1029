import io

import make
import numpy as np
from PIL import Image

from retrieval.analysis.copies import copy_recall, edited_copy, near_identical_copies, read_near_identical
from retrieval.decoder import PhotoDecoder
from retrieval.images import ResizeRule


def test_a_copy_is_a_part_of_the_photo_with_its_aspect_ratio() -> None:
    photo = make.photo("red", 1, size=(400, 200))
    sizes = []
    for seed in range(30):
        copy = Image.open(io.BytesIO(edited_copy(photo, np.random.default_rng(seed))))
        assert copy.format == "JPEG"
        assert abs(copy.width / copy.height - 2) < 0.02
        sizes.append(copy.width * copy.height / (400 * 200))
    assert 0.34 < min(sizes) < 0.45 and 0.5 < max(sizes) < 0.61


def test_the_same_seed_edits_in_the_same_way_and_another_one_does_not() -> None:
    photo = make.photo("red", 1, size=(90, 60))
    first, again, other = (edited_copy(photo, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first == again != other


def test_a_photo_of_one_pixel_is_edited_too() -> None:
    copy = Image.open(io.BytesIO(edited_copy(Image.new("RGB", (1, 1)), np.random.default_rng(0))))
    assert copy.size == (1, 1)


def test_near_identical_copies_keep_most_of_the_photo() -> None:
    photo = make.photo("red", 1, size=(200, 100))
    half, compressed, cropped, brighter, darker = (
        Image.open(io.BytesIO(copy)) for copy in near_identical_copies(photo)
    )
    assert half.size == (100, 50)
    assert cropped.size == (180, 90)
    assert compressed.size == brighter.size == darker.size == (200, 100)
    means = [np.asarray(copy, float).mean() for copy in (darker, photo, brighter)]
    assert means[0] < 0.95 * means[1] < means[2] / 1.01


def test_near_identical_copies_are_read_at_the_input_size_of_a_network() -> None:
    content = io.BytesIO()
    make.photo("red", 1, size=(200, 100)).save(content, "PNG")
    pixels = read_near_identical(content.getvalue(), ResizeRule(size=32, shorter_side=36), PhotoDecoder())
    assert pixels.shape == (5, 32, 32, 3)
    assert len(np.unique(pixels, axis=0)) == 5


def test_recall_of_copies_worked_out_by_hand() -> None:
    angles = np.radians([0, 10, 50, 52])
    gallery = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    turned = np.radians([2, 4, 51, 53])  # the second is nearest to the first photo; the third between both others
    copies = np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float32)
    found = copy_recall(gallery, copies)
    assert found["copy_recall_at_1"].tolist() == [1, 0, 1, 1]
    assert found["copy_recall_at_10"].tolist() == [1, 1, 1, 1]
