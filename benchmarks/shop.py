"""A day in a shop: 20,000 product photos with a manifest of prices, dates and categories, 2 % of them mislabelled.

    python benchmarks/shop.py --bundle BUNDLE --photos FOLDER [--products 5000] [--json]

Each product has four photos: edited copies (`edited_copy`: 35–60 % of the area, mirrored half the time, other colours,
JPEG) of one photo of the folder, whose sub-folder is the category. The photos should be unknown to the bundle. With a
real server, index and Python client the script

- indexes the manifest, with the wrong categories in it;
- compares what filters return with the manifest: number, date, flag, text, list and combinations (`wrong_filters`);
- measures pages of the filtered and sorted list, and searches with a filter, in milliseconds;
- groups results by product (`products_twice` counts those that come twice in a result);
- reviews the queue of likely mislabelled photos in its order and corrects those that are, until 80 % of the wrong
  categories are corrected: `reviewed_for_each_wrong` are the photos reviewed for each wrong one;
- indexes the manifest, with its wrong categories, once more, and exports everything to Parquet: `with_true_category`
  counts the photos that have their true category in the file, so it shows that the corrections have been kept.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
from options import bundle_and_photos, show
from served import LOOKALIKE, serving
from timing import spread, timed

from lookalike.client import Client
from lookalike.client.responses import IndexedPhoto
from retrieval.analysis.copies import edited_copy
from retrieval.decoder import PhotoDecoder
from retrieval.listing import list_photos

KEY = "a key of this script"
PHOTOS_PER_PRODUCT = 4
MISLABELLED = 0.02
CORRECTED = 0.8
COLOURS, SHOPS = ("black", "blue", "green", "red", "white", "yellow"), ("Bergen", "Lyon", "Porto")
FIRST_DAY, DAYS = date(2023, 1, 1), 1000
PAGES = 50
SEARCHES = 200
WHERE: dict[str, dict[str, Any]] = {
    "number": {"price": {"gte": 50, "lt": 60}},
    "date": {"added": {"gte": "2024-01-01", "lte": "2024-01-31"}},
    "flag": {"sale": True},
    "text": {"shop": ["Lyon", "Porto"]},
    "list": {"colours": "red"},
    "combined": {"price": {"lt": 100}, "any": [{"shop": "Bergen"}, {"sale": True}], "not": {"colours": "blue"}},
}
MATCHES: dict[str, Callable[["Item"], bool]] = {
    "number": lambda item: 50 <= item.price < 60,
    "date": lambda item: date(2024, 1, 1) <= item.added <= date(2024, 1, 31),
    "flag": lambda item: item.sale,
    "text": lambda item: item.shop in ("Lyon", "Porto"),
    "list": lambda item: "red" in item.colours,
    "combined": lambda item: item.price < 100 and (item.shop == "Bergen" or item.sale) and "blue" not in item.colours,
}


@dataclass(frozen=True)
class Item:
    """A photo of a product, its true category, and the one in the manifest."""

    path: str
    product: str
    category: str
    listed_as: str
    price: float
    added: date
    sale: bool
    shop: str
    colours: tuple[str, ...]


def main() -> None:
    parser = bundle_and_photos(__doc__ or "")
    parser.add_argument("--products", type=int, default=5000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        items = make_shop(Path(folder, "shop"), options.photos, options.products)
        home = Path(folder, "home")
        result: dict[str, Any] = {"photos": len(items), "mislabelled": sum(i.category != i.listed_as for i in items)}
        result["index_seconds"] = index(home, Path(folder, "shop", "manifest.jsonl"), options.bundle)
        with client_of(home) as client:
            result |= filters(client, items) | lists(client) | searches(client) | review(client, items)
        again = index(home, Path(folder, "shop", "manifest.jsonl"), options.bundle)
        result |= {"index_again_seconds": again} | exported(home, Path(folder), items)
    show(result, options.json)


def make_shop(folder: Path, photos: Path, products: int) -> list[Item]:
    """Write the photos and the manifest of a shop."""
    rng, decoder = np.random.default_rng(0), PhotoDecoder()
    listed = list(list_photos(photos))
    categories = sorted({photo.path.parent.name for photo in listed})
    order = rng.permutation(len(listed))
    wrong = set(rng.choice(products * PHOTOS_PER_PRODUCT, round(MISLABELLED * products * PHOTOS_PER_PRODUCT), False))
    folder.mkdir()
    items: list[Item] = []
    for number in range(products):
        origin = listed[order[number % len(listed)]].path
        picture, category = decoder.decode(origin.read_bytes()), origin.parent.name
        for view in range(PHOTOS_PER_PRODUCT):
            path = f"{number:05}-{view}.jpg"
            (folder / path).write_bytes(edited_copy(picture, rng))
            others = [name for name in categories if name != category]
            listed_as = str(rng.choice(others)) if len(items) in wrong else category
            items.append(_item(path, f"product {number:05}", category, listed_as, np.random.default_rng(number)))
    with (folder / "manifest.jsonl").open("w") as file:
        file.writelines(json.dumps(_row(item)) + "\n" for item in items)
    return items


def _item(path: str, product: str, category: str, listed_as: str, rng: np.random.Generator) -> Item:
    colours = tuple(str(colour) for colour in rng.choice(COLOURS, int(rng.integers(1, 4)), replace=False))
    price, day = round(float(rng.gamma(2, 40)), 2), FIRST_DAY + timedelta(days=int(rng.integers(DAYS)))
    return Item(
        path, product, category, listed_as, price, day, bool(rng.random() < 0.15), str(rng.choice(SHOPS)), colours
    )


def _row(item: Item) -> dict[str, Any]:
    return {
        "path": item.path,
        "label": item.listed_as,
        "product": item.product,
        "price": item.price,
        "added": item.added.isoformat(),
        "sale": item.sale,
        "shop": item.shop,
        "colours": list(item.colours),
    }


def index(home: Path, manifest: Path, bundle: Path) -> float:
    """Index the manifest with the command; return the seconds."""
    command = [*LOOKALIKE, "index", manifest, "--bundle", bundle, "--json"]
    return round(timed(lambda: _run(home, command))[0], 1)


def _run(home: Path, command: list[Any]) -> str:
    done = subprocess.run(command, env=os.environ | {"LOOKALIKE_HOME": str(home)}, stdout=subprocess.PIPE, check=True)
    return done.stdout.decode()


@contextmanager
def client_of(home: Path) -> Iterator[Client]:
    """A client of a real server with a key of the scope `write`."""
    settings = {"LOOKALIKE_HOME": str(home), "LOOKALIKE_API_KEYS": f"shop:write:{KEY}"}
    with serving(os.environ | settings) as server, Client(f"http://{server.address}", key=KEY) as client:
        yield client


def filters(client: Client, items: list[Item]) -> dict[str, Any]:
    """The number of photos that each filter returns, and which filters return others than the manifest says."""
    found = {name: {photo.path for photo in client.images(where=where)} for name, where in WHERE.items()}
    right = {name: {item.path for item in items if MATCHES[name](item)} for name in WHERE}
    return {
        "filtered": {name: len(paths) for name, paths in found.items()},
        "wrong_filters": [name for name in WHERE if found[name] != right[name]],
    }


def lists(client: Client) -> dict[str, Any]:
    """Milliseconds of the first thousand photos of the list, sorted and filtered."""
    ways: dict[str, dict[str, Any]] = {"by_name": {"sort": "name"}, "filtered": {"where": WHERE["number"]}}
    return {
        f"list_{name}_ms": _milliseconds([timed(lambda: next(client.images(**way)))[0] for _ in range(PAGES)])  # noqa: B023
        for name, way in ways.items()
    }


def searches(client: Client) -> dict[str, Any]:
    """Milliseconds and recall@10 of filtered searches, and products that come twice in grouped results."""
    photos = list(client.images(sort="name"))
    seconds, found, most, twice = list[float](), 0, 0, 0
    for photo in photos[:: -(-len(photos) // SEARCHES)]:
        took, answer = timed(lambda: client.search(photo.id, where=WHERE["combined"]))  # noqa: B023
        seconds.append(took)
        exact = client.search(photo.id, where=WHERE["combined"], exact=True).results
        found += sum(result.score >= exact[-1].score - 1e-5 for result in answer.results)
        most += len(exact)
        products = [result.extra["product"] for result in client.search(photo.id, group_by="product").results]
        twice += len(products) - len(set(products))
    return {
        "filtered_search_ms": _milliseconds(seconds),
        "filtered_recall_at_10": found / most,
        "products_twice": twice,
    }


def review(client: Client, items: list[Item]) -> dict[str, Any]:
    """Correct the wrong photos of the queue in its order, until 80 % of all are corrected."""
    job = client.wait(client.start_review().id)
    true = {item.path: item for item in items}
    wrong = sum(item.category != item.listed_as for item in items)
    seconds, reviewed = list[float](), 0
    for queued in client.queue("mislabelled"):
        reviewed += 1
        item = true[queued.photo.path]
        if item.category != queued.photo.label:
            seconds.append(timed(lambda: _correct(client, queued.photo, item.category))[0])  # noqa: B023
            if len(seconds) >= CORRECTED * wrong:
                break
    return {
        "review_job_seconds": job.seconds,
        "reviewed": reviewed,
        "corrected": len(seconds),
        "reviewed_for_each_wrong": reviewed / wrong if len(seconds) >= CORRECTED * wrong else None,
        "correction_ms": _milliseconds(seconds),
    }


def _correct(client: Client, photo: IndexedPhoto, category: str) -> None:
    client.update(photo.id, label=category, version=photo.version)


def exported(home: Path, folder: Path, items: list[Item]) -> dict[str, Any]:
    """Export to Parquet; return the seconds, and how many photos have their true category in the file."""
    file = folder / "shop.parquet"
    said = json.loads(_run(home, [*LOOKALIKE, "export", "--to", file, "--json"]))
    rows = pyarrow.parquet.read_table(file, columns=["uri", "label"]).to_pylist()
    true = {item.path: item.category for item in items}
    right = sum(true[row["uri"].rsplit("/", 1)[1]] == row["label"] for row in rows)
    return {"export_seconds": said["seconds"], "exported": len(rows), "with_true_category": right}


def _milliseconds(seconds: list[float]) -> dict[str, float]:
    return spread(1000 * second for second in seconds)


if __name__ == "__main__":
    main()
