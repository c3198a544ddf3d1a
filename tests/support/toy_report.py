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
    folder = run_dir / "examples" / "0"
    folder.mkdir(parents=True)
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(COLOURS)] = COLOURS
    for name, ids in {
        "label": toy_label(),
        **{name: toy_prediction(wrong, name) for name in subsets},
    }.items():
        image = Image.fromarray(ids)
        image.putpalette(palette.tobytes())
        image.save(folder / f"{name}.png")
    letters = {"rgb": "R", "dsm": "D", "nir": "N"}
    for place, name in enumerate(letters):
        Image.fromarray(np.full((SIDE, SIDE), 80 * place, np.uint8)).save(folder / f"{name}.jpg")
    scene = {
        "id": "scene3",
        "folder": "0",
        "pixels": [SIDE, SIDE],
        "step": 1,
        "modalities": list(letters),
        "subsets": list(subsets),
    }
    classes = [
        {"id": place, "name": name, "color": COLOURS[place]} for place, name in enumerate(LABELS)
    ]
    index = {"fingerprint": "f" * 64, "letters": letters, "classes": classes, "outputs": [0, 1, 2]}
    index |= {"unlabelled": UNLABELLED, "scenes": [scene]}
    (run_dir / "examples" / "index.json").write_text(json.dumps(index))
