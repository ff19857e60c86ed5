"""Score drawn pictures: likeness to the training pictures, faithfulness to the prompt, variety, and copies.

    python score_pictures.py REQUEST.json

REQUEST: {"pictures": [{"place", "prompt", "seed", "file"}, ...], "prompts": [text, ...], "training": [file, ...],
          "clip": MODEL or null, "dino": MODEL or null, "named": [MODEL, ...]}

`place` is the number of a checkpoint and strength; -1 is the base model alone. MODEL is a folder or a name on the hub;
one that nobody `named` is used only where it is in the hub's cache.

    {"left_out": {"clip": reason or "", ...}, "unread": [file, ...],
     "places": [{"place", "likeness", "faithfulness", "variety"}, ...], each {"value", "low", "high"} or null,
     "level": {"likeness": [place, ...], ...}     the best place and those that can't be told from it, by measure
     "copies": [{"file", "place", "training", "distance", "usual", "by"}, ...],
     "usual": {"pixels": distance, "dino": distance}}

`low` and `high` hold 90 % of what drawing other prompts and seeds would give (a bootstrap, first of prompts, then of
each one's seeds); null where there is one picture only. Measures are compared picture by picture, as all places draw
the same prompts with the same seeds.

A picture is a suspected copy where its distance to the nearest training picture is less than half of what is usual:
the distance from one training picture to the nearest other one (the lower quarter of them), and that of the base
model's nearest drawing. Distance by pixels is 1 less the best correlation of small grey versions and of their detail,
with the training picture whole, cropped or mirrored, in either direction; brightness and contrast do not count.

transformers' CLIP and DINOv2 are used where they are; without them copies and variety are told by pixels.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

os.environ.setdefault("OPENBLAS_NUM_THREADS", "2")
import cv2
import numpy as np
from PIL import Image, ImageOps

SIDE = 64
"""Pixels of the shorter side of what is compared."""
LEAST_SIDE = 8
SCALES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5)
"""How much of a training picture's sides a crop may show."""
BLUR = 6.0
"""What is larger than this is no detail."""
FLAT = 2.0
"""A picture whose grey values differ by less shows nothing."""
ROUGH = (1.0, 0.85, 0.7, 0.55)
LOOKED_AT = 6
"""How many of the nearest at a rough look are looked at closely."""
MOST_TRAINING = 500
"""More training pictures are sampled evenly: each is compared with each drawing."""
MOST_AMONG = 60
"""How many training pictures tell how near they usually are to one another."""
NEARER = 0.5
"""A copy is nearer than this share of what is usual."""
FARTHEST_COPY = {"pixels": 0.2, "dino": 0.15}
"""However far the training pictures are from one another, a copy is no farther than this."""
SAME = 0.02
"""Nearer training pictures are the same one twice, which tells nothing of what is usual."""
QUARTER = 0.25
RESAMPLES = 1000
BASE = -1
BATCH = 16
MEASURES = ("likeness", "faithfulness", "variety")

Kind = TypeVar("Kind")
Grey = Any
"""An array of float32."""
Score = dict[str, float | None]
ByPicture = dict[tuple[int, int, int], float]
"""A value by place, prompt and seed."""


def main(argv: list[str]) -> int:
    """Score what the request names, and print it."""
    if len(argv) != 1 or argv[0] in ("-h", "--help"):
        print("usage: score_pictures.py REQUEST.json", file=sys.stderr)
        return 0 if argv and argv[0] in ("-h", "--help") else 2
    request = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = Scoring(request).scores()
    print(json.dumps(found))
    return 0


class Scoring:
    """The pictures of a request, and what is made of them."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.request = request
        self.unread: list[str] = []
        self.left_out: dict[str, str] = {}
        self.pictures = [one for one in request["pictures"] if self.can_be_read(one["file"])]
        self.training = [file for file in spread(request["training"], MOST_TRAINING) if self.can_be_read(file)]

    def can_be_read(self, file: str) -> bool:
        """Whether a picture can be decoded; otherwise it is listed."""
        try:
            with Image.open(file) as picture:
                picture.load()
        except Exception:  # noqa: BLE001  decoders raise anything on a broken file
            self.unread.append(file)
            return False
        return True

    def scores(self) -> dict[str, Any]:
        """All that is printed."""
        drawn = [one["file"] for one in self.pictures]
        clip = self.with_model("clip", lambda model: clip_vectors(model, drawn, self.request["prompts"]))
        dino = self.with_model("dino", lambda model: image_vectors(model, [*drawn, *self.training]))
        measures: dict[str, ByPicture] = {"likeness": {}, "faithfulness": {}}
        if dino is not None and self.training:
            measures["likeness"] = self.by_picture(dino[: len(drawn)] @ unit(dino[len(drawn) :].mean(axis=0)))
        if clip is not None:
            texts = clip[1][[one["prompt"] for one in self.pictures]] if self.pictures else clip[1]
            measures["faithfulness"] = self.by_picture((clip[0] * texts).sum(axis=1))
        small = [grey(file) for file in drawn]
        measures["variety"] = self.variety(dino, small)
        copies, usual = self.copies(small, dino)
        return {
            "left_out": self.left_out,
            "unread": self.unread,
            "places": [{"place": place, **self.of_place(measures, place)} for place in self.places()],
            "level": {name: level(found) for name, found in measures.items() if name != "variety" and found},
            "copies": copies,
            "usual": usual,
        }

    def with_model(self, name: str, look: Callable[[str], Any]) -> Any:  # noqa: ANN401  vectors, of one or two kinds
        """What a model sees. None, with the reason kept, where the model is not there."""
        model = self.request.get(name)
        if model is None:
            self.left_out[name] = "none was named"
            return None
        was_named = model in self.request["named"]
        if not was_named and not Path(model).is_dir() and not is_cached(model):
            self.left_out[name] = ""
            return None
        try:
            return look(model)
        except (OSError, ValueError, ImportError, KeyError, AttributeError, RuntimeError) as error:
            self.left_out[name] = " ".join(f"{model}: {error}".split())[:300]
            return None

    def places(self) -> list[int]:
        """Every checkpoint and strength, the base first."""
        return sorted({one["place"] for one in self.pictures})

    def by_picture(self, values: Any) -> ByPicture:  # noqa: ANN401  an array
        """A value for each picture."""
        keys = [(one["place"], one["prompt"], one["seed"]) for one in self.pictures]
        return dict(zip(keys, map(float, values), strict=True))

    def variety(self, vectors: Any, small: Sequence[Grey]) -> ByPicture:  # noqa: ANN401  an array or None
        """How far each picture is from those of the same prompt with other seeds. Empty with one seed."""
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        for number, one in enumerate(self.pictures):
            groups[one["place"], one["prompt"]].append(number)
        found: ByPicture = {}
        for (place, prompt), members in groups.items():
            for number in members:
                others = [other for other in members if other != number]
                if others:
                    apart = [self.apart(vectors, small, number, other) for other in others]
                    found[place, prompt, self.pictures[number]["seed"]] = sum(apart) / len(apart)
        return found

    @staticmethod
    def apart(vectors: Any, small: Sequence[Grey], one: int, other: int) -> float:  # noqa: ANN401  an array or None
        """The distance of two drawings."""
        if vectors is not None:
            return float(1 - vectors[one] @ vectors[other])
        return 1 - correlation(small[one], small[other])

    def of_place(self, measures: dict[str, ByPicture], place: int) -> dict[str, Score | None]:
        """Each measure's mean, with its range."""
        return {name: mean_of({key[1:]: value for key, value in found.items() if key[0] == place})
                for name, found in measures.items()}  # fmt: skip

    def copies(self, small: Sequence[Grey], vectors: Any) -> tuple[list[dict[str, Any]], dict[str, float]]:  # noqa: ANN401  an array or None
        """Suspected copies, and the usual distances by each way of telling."""
        if not self.training:
            return [], {}
        trained = [grey(file) for file in self.training]
        ways = {"pixels": (distances(small, trained), distances(spread(trained, MOST_AMONG), trained))}
        if vectors is not None:
            seen, known = vectors[: len(small)], vectors[len(small) :]
            ways["dino"] = (1 - seen @ known.T, 1 - known @ known.T + 2 * np.eye(len(known)))
        found: dict[tuple[str, int], dict[str, Any]] = {}
        usual: dict[str, float] = {}
        for name, (to_training, among) in ways.items():
            base = [row for row, one in zip(to_training, self.pictures, strict=True) if one["place"] == BASE]
            usual[name] = usual_distance(among, base)
            limit = min(NEARER * usual[name], FARTHEST_COPY[name])
            for one, row in zip(self.pictures, to_training, strict=True):
                nearest = int(np.argmin(row))
                if one["place"] != BASE and row[nearest] < limit:
                    told = {"training": self.training[nearest], "distance": float(row[nearest]), "usual": usual[name]}
                    who = {"file": one["file"], "place": one["place"]}
                    found.setdefault((one["file"], one["place"]), {**who, **told, "by": name})
        return list(found.values()), usual


def is_cached(model: str) -> bool:
    """Whether the hub's cache has a model's configuration."""
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415  takes a while, and is needed for models alone

    return isinstance(try_to_load_from_cache(model, "config.json"), str)


def spread(many: Sequence[Kind], most: int) -> list[Kind]:
    """All, or as many as may be, evenly over the list."""
    if len(many) <= most:
        return list(many)
    return [many[number * len(many) // most] for number in range(most)]


# Pixels


def grey(file: str) -> Grey:
    """A small grey version as it is seen, with transparent parts on white."""
    with Image.open(file) as opened:
        opened.draft("L", (4 * SIDE, 4 * SIDE))
        turned = ImageOps.exif_transpose(opened)
        if turned.mode in ("RGBA", "LA", "PA", "P"):
            turned = turned.convert("RGBA")
            turned = Image.alpha_composite(Image.new("RGBA", turned.size, "white"), turned)
        scale = SIDE / min(turned.size)
        size = tuple(max(LEAST_SIDE, min(4 * SIDE, round(side * scale))) for side in turned.size)
        return np.asarray(turned.convert("L").resize(size, Image.Resampling.BOX), dtype=np.float32)


def detail(small: Grey) -> Grey:
    """What is left without the large shapes of light and dark."""
    return small - cv2.GaussianBlur(small, (0, 0), BLUR)


def correlation(one: Grey, other: Grey) -> float:
    """How alike two pictures are as they stand, -1 to 1."""
    if one.std() < FLAT or other.std() < FLAT:
        return 0.0
    fitted = cv2.resize(other, (one.shape[1], one.shape[0]), interpolation=cv2.INTER_AREA)
    return float((matched(one, fitted) + matched(detail(one), detail(fitted)))[0, 0] / 2)


def matched(picture: Grey, part: Grey) -> Grey:
    """The correlation of a part with each place of a picture."""
    return np.nan_to_num(cv2.matchTemplate(picture, part, cv2.TM_CCOEFF_NORMED), posinf=0, neginf=0)


def distances(some: Sequence[Grey], others: Sequence[Grey]) -> Any:  # noqa: ANN401  an array
    """From each to each: by a rough look at all, then closely at the nearest few. No picture is compared with itself.

    What the rough look leaves is as far as a picture can be.
    """
    close = [(other, other[:, ::-1].copy()) for other in others]
    rough = [tuple(map(coarse, versions)) for versions in close]

    def row(one: Grey) -> Any:  # noqa: ANN401  an array
        seen, found = coarse(one), np.ones(len(others), dtype=np.float32)
        looks = [-2.0 if one is close[at][0] else max(best_match(seen, each, ROUGH) for each in versions)
                 for at, versions in enumerate(rough)]  # fmt: skip
        for column in np.argsort(looks)[::-1][:LOOKED_AT]:
            if one is not close[column][0]:
                found[column] = min(1 - best_match(one, version) for version in close[column])
        return found

    cv2.setNumThreads(1)  # a thread for each picture instead: they are small
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return np.array(list(pool.map(row, some))).reshape(len(some), len(others))


def coarse(small: Grey) -> Grey:
    """For the rough look."""
    return cv2.resize(small, (max(LEAST_SIDE, small.shape[1] // 3), max(LEAST_SIDE, small.shape[0] // 3)),
                      interpolation=cv2.INTER_AREA)  # fmt: skip


def best_match(one: Grey, other: Grey, scales: Sequence[float] = SCALES) -> float:
    """The best correlation of one as a crop of the other, and of the other as a crop of the one."""
    if one.std() < FLAT or other.std() < FLAT:
        return 0.0
    return max(*crops(one, other, scales), *crops(other, one, scales))


def crops(part: Grey, whole: Grey, scales: Sequence[float]) -> Iterator[float]:
    """The best correlation of a part with the whole, at each scale that fits into it."""
    height, width = whole.shape
    fit = min(width / part.shape[1], height / part.shape[0])
    is_close = scales is SCALES
    fine = detail(whole) if is_close else whole
    for scale in scales:
        size = tuple(int(side * fit * scale) for side in part.shape[::-1])
        if min(size) < LEAST_SIDE:
            continue
        fitted = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
        found = matched(whole, fitted)
        yield float(((found + matched(fine, detail(fitted))) / 2 if is_close else found).max())
    yield 0.0


def usual_distance(among: Any, base: Sequence[Any]) -> float:  # noqa: ANN401  an array
    """What is usual between different pictures of this kind."""
    nearest = [row[row > SAME].min() for row in among if (row > SAME).any()]
    kinds = [float(np.quantile(nearest, QUARTER))] if nearest else []
    kinds += [min(float(row.min()) for row in base)] if base else []
    return min(kinds, default=1.0)


# Models


def image_vectors(model: str, files: Sequence[str]) -> Any:  # noqa: ANN401  an array
    """What DINOv2, or another image model of transformers, sees in each picture, as vectors of length 1."""
    import torch  # noqa: PLC0415  takes seconds, and is not needed without models
    from transformers import AutoImageProcessor, AutoModel  # noqa: PLC0415  as above

    device = "cuda" if torch.cuda.is_available() else "cpu"
    processor = AutoImageProcessor.from_pretrained(model, use_fast=False)
    eyes = AutoModel.from_pretrained(model, use_safetensors=True).to(device).eval()

    def look(pictures: list[Image.Image]) -> Any:  # noqa: ANN401  a tensor
        seen = eyes(**processor(images=pictures, return_tensors="pt").to(device))
        return seen.last_hidden_state[:, 0]

    with torch.no_grad():
        return unit(np.concatenate([look(batch).float().cpu().numpy() for batch in batches(files)]))


def clip_vectors(model: str, files: Sequence[str], prompts: Sequence[str]) -> tuple[Any, Any]:
    """What CLIP sees in each picture and reads in each prompt, as vectors of length 1."""
    import torch  # noqa: PLC0415  takes seconds, and is not needed without models
    from transformers import AutoImageProcessor, CLIPModel, CLIPTokenizer  # noqa: PLC0415  as above

    device = "cuda" if torch.cuda.is_available() else "cpu"
    processor = AutoImageProcessor.from_pretrained(model, use_fast=False)
    clip = CLIPModel.from_pretrained(model, use_safetensors=True).to(device).eval()
    words = CLIPTokenizer.from_pretrained(model)(list(prompts), padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        texts = clip.get_text_features(**words.to(device)).float().cpu().numpy()
        seen = [
            clip.get_image_features(**processor(images=batch, return_tensors="pt").to(device)).float().cpu().numpy()
            for batch in batches(files)
        ]
    return unit(np.concatenate(seen)), unit(texts)


def batches(files: Sequence[str]) -> Iterator[list[Image.Image]]:
    """Pictures in RGB, a few at a time."""
    for start in range(0, len(files), BATCH):
        batch = []
        for file in files[start : start + BATCH]:
            with Image.open(file) as picture:
                batch.append(ImageOps.exif_transpose(picture).convert("RGB"))
        yield batch


def unit(vectors: Any) -> Any:  # noqa: ANN401  an array
    """Vectors of length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


# Doubt


def mean_of(values: dict[tuple[int, int], float]) -> Score | None:
    """The mean over prompts and seeds, and 90 % of what others would give. None without a value."""
    if not values:
        return None
    means = resampled(values)
    low, high = (None, None) if means is None else (float(np.quantile(means, q)) for q in (0.05, 0.95))
    return {"value": float(np.mean(list(values.values()))), "low": low, "high": high}


def resampled(values: dict[tuple[int, int], float]) -> Any:  # noqa: ANN401  an array or None
    """Means of draws with replacement: first of prompts, then of each one's seeds. None for one picture."""
    if len(values) < 2:  # noqa: PLR2004  one picture tells nothing of others
        return None
    by_prompt: dict[int, list[float]] = defaultdict(list)
    for (prompt, _seed), value in values.items():
        by_prompt[prompt].append(value)
    groups = list(by_prompt.values())
    rng = np.random.default_rng(0)

    def once() -> float:
        taken = [groups[at] for at in rng.integers(len(groups), size=len(groups))]
        return float(np.mean([np.mean(rng.choice(group, len(group))) for group in taken]))

    return np.array([once() for _ in range(RESAMPLES)])


def level(found: ByPicture) -> list[int]:
    """The best place and those that can't be told from it, compared picture by picture."""
    places: dict[int, dict[tuple[int, int], float]] = defaultdict(dict)
    for (place, prompt, seed), value in found.items():
        if place != BASE:
            places[place][prompt, seed] = value
    if not places:
        return []
    best = max(places, key=lambda place: np.mean(list(places[place].values())))
    return sorted(place for place, values in places.items() if place == best or not is_less(values, places[best]))


def is_less(values: dict[tuple[int, int], float], best: dict[tuple[int, int], float]) -> bool:
    """Whether it is less than the best for nearly all draws of prompts and seeds."""
    less = resampled({key: best[key] - value for key, value in values.items() if key in best})
    return less is not None and bool(np.quantile(less, 0.05) > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
