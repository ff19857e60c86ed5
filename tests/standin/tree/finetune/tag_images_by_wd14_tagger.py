"""Plays sd-scripts' WD14 tagger: same options, same places, same habits, and every tag of the list for every picture.

STANDIN_TAGGER=WHAT@N: before the picture of that number (from 0) `crash` raises, `hang` writes half a caption and waits,
`silent` writes a caption without tags.
"""

import argparse
import csv
import os
import time

import library  # noqa: F401  not found unless PYTHONPATH names the checkout, as upstream

SUFFIXES = [".png", ".jpg", ".jpeg", ".webp", ".bmp"]


def main(args) -> None:
    location = os.path.join(args.model_dir, args.repo_id.replace("/", "_"))
    if not os.path.exists(location) or args.force_download:
        raise RuntimeError(f"the stand-in fetches nothing: {args.repo_id}")
    assert args.onnx and os.path.exists(os.path.join(location, "model.onnx"))
    with open(os.path.join(location, "selected_tags.csv"), encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    names = sorted(name for name in os.listdir(args.train_data_dir) if os.path.splitext(name)[1] in SUFFIXES)
    what, _, number = os.environ.get("STANDIN_TAGGER", "").partition("@")
    for at, name in enumerate(names):
        caption = os.path.join(args.train_data_dir, os.path.splitext(name)[0] + args.caption_extension)
        now = what if str(at) == number else ""
        if any(row[2] == "4" for row in rows):
            raise UnboundLocalError("cannot access local variable 'character_tags'")  # as v0.10.1
        if now == "crash":
            raise RuntimeError("the stand-in was told to crash")
        tags = [row[1].replace("_", " ") for row in rows if row[2] == "0" and args.thresh <= float(row[3])]
        with open(caption, "wt", encoding="utf-8") as file:
            if now == "hang":
                file.write("half of a")
                file.flush()
                time.sleep(float(os.environ.get("STANDIN_WAIT_SECONDS") or 600))
            file.write(", ".join([] if now == "silent" else tags) + "\n")
        print(f"{at + 1}/{len(names)}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("train_data_dir")
    parser.add_argument("--repo_id")
    parser.add_argument("--model_dir")
    parser.add_argument("--force_download", action="store_true")
    parser.add_argument("--batch_size", type=int, default=1)
    parser.add_argument("--caption_extension", default=".txt")
    parser.add_argument("--thresh", type=float, default=0.35)
    parser.add_argument("--remove_underscore", action="store_true")
    parser.add_argument("--onnx", action="store_true")
    main(parser.parse_args())
