"""A folder of random runs with all that a report shows: conditions, logs, pictures, costs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
from PIL import Image

from benchmark.records.reliability import write_reliability
from tests.support.toy_records import LABELS, toy_record, toy_result
from tests.support.toy_trust import toy_damage, toy_reliability

METHODS = {"alpha": (0, 1), "beta": (0, 1), "gamma": (3,)}
SCENES = 12
SIDE = 8  # pixels of the toy pictures
COLOURS = [[200, 200, 200], [200, 30, 30], [30, 160, 30], [0, 0, 255]]
UNLABELLED = [0, 0, 0]
CURVE = {10: (1.5, None), 20: (1.25, 0.25), 30: (1.0, 0.5)}  # step: loss, validation Average


def toy_runs(root: Path) -> Path:
    """Write five runs of three methods, and `root/complexity/toy.csv` with costs of two."""
    weather = {
        f"scene{number}": [f"weather={'night' if number % 3 else 'sun'}"]
        for number in range(SCENES)
    }
    for place, (method, seeds) in enumerate(METHODS.items()):
        for seed in seeds:
            result = toy_result(0.5 + 0.1 * place, 10 * place + seed, scenes=SCENES)
            result = dataclasses.replace(result, conditions=weather)
            record = toy_record(root / "runs", method, seed, result)
            run_dir = root / "runs" / method / str(seed)
            if method != "gamma":
                toy_damage(record, "fog", ("5 %", "20 %"), ("R", "D", "R+D"))
                toy_damage(record, "tilt", ("1 m",), ("D",))
                write_reliability(record, toy_reliability(record))
                write_log(run_dir)
                write_examples(run_dir, result.subsets, wrong=place + 1)
                write_damage_examples(run_dir, "fog 0 0", wrong=place + 1)
    costs = root / "complexity" / "toy.csv"
    costs.parent.mkdir()
    costs.write_text(
        "method,backbone,parameters,gmac\n"
        "alpha,pvt_v2_b0,3500000,4.25\nbeta,,5000000,2.5\nother,,1,1\n"
    )
    return root / "runs"


def write_log(run_dir: Path) -> None:
    """A log as the trainer writes it: losses and scores in lines of their own."""
    lines = ["epoch,step,train/loss,val/average_miou"]
    for step, (loss, average) in CURVE.items():
        lines.append(f"0,{step},{loss},")
        if average is not None:
            lines.append(f"0,{step},,{average}")
    (run_dir / "logs").mkdir(parents=True)
    (run_dir / "logs" / "metrics.csv").write_text("\n".join(lines) + "\n")


def toy_label() -> np.ndarray:
    """Class 1 left, class 2 right, one row of clutter (not scored) and one without label."""
    label = np.ones((SIDE, SIDE), np.uint8)
    label[:, SIDE // 2 :] = 2
    label[0], label[1] = 3, 255
    return label


def toy_prediction(wrong: int, subset: str) -> np.ndarray:
    """The label with `wrong` pixels wrong for each missing sensor; unscored pixels are any."""
    ids = np.where(toy_label() > 2, 0, toy_label()).astype(np.uint8)
    ids[2, : wrong * (2 - subset.count("+"))] = 0
    return ids


def write_examples(run_dir: Path, subsets: tuple[str, ...], wrong: int) -> None:
    """Pictures of one scene, as `benchmark.tracking.example_images` leaves them."""
    letters = {"rgb": "R", "dsm": "D", "nir": "N"}
    predictions = {name: toy_prediction(wrong, name) for name in subsets}
    write_pictures(run_dir / "examples", "scene3", list(letters), predictions)


def write_damage_examples(run_dir: Path, identity: str, wrong: int) -> None:
    """Pictures of a scenario, as `benchmark.tracking.damage_images` leaves them."""
    keys = [f"{end}.{name}" for name in ("rgb", "dsm") for end in ("mildest", "strongest")]
    predictions = {"clean": toy_prediction(0, "")}
    for key in keys:
        predictions[key] = toy_prediction(wrong if key.startswith("mildest") else 2 * wrong, "R+D")
    write_pictures(run_dir / "damage_examples", identity, ["rgb", "dsm", *keys], predictions)


def write_pictures(
    root: Path, identity: str, modalities: list[str], predictions: dict[str, np.ndarray]
) -> None:
    """One entry of an index with its pictures."""
    folder = root / "0"
    folder.mkdir(parents=True)
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(COLOURS)] = COLOURS
    for name, ids in {"label": toy_label(), **predictions}.items():
        image = Image.fromarray(ids)
        image.putpalette(palette.tobytes())
        image.save(folder / f"{name}.png")
    for place, name in enumerate(modalities):
        Image.fromarray(np.full((SIDE, SIDE), 30 * place, np.uint8)).save(folder / f"{name}.jpg")
    scene = {
        "id": identity,
        "folder": "0",
        "pixels": [SIDE, SIDE],
        "step": 1,
        "modalities": modalities,
        "subsets": list(predictions),
    }
    classes = [
        {"id": place, "name": name, "color": COLOURS[place]} for place, name in enumerate(LABELS)
    ]
    letters = {"rgb": "R", "dsm": "D", "nir": "N"}
    index = {"fingerprint": "f" * 64, "letters": letters, "classes": classes, "outputs": [0, 1, 2]}
    index |= {"unlabelled": UNLABELLED, "scenes": [scene]}
    (root / "index.json").write_text(json.dumps(index))
