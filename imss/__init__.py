"""The Python interface of IMSS-Bench: what stands here stays, the rest of the code may move.

Load a run and predict from the sensors at hand:

    run = imss.load_run("results/runs/miniature/sgma/pvt_v2_b0-seed0-...")
    logits = imss.predict_images(run, {"rgb": rgb, "nir": nir})
    imss.map_rasters(run, {"rgb": "ortho.tif", "nir": "ortho.tif:4"}, "map.tif")

Build a method and train it with a plain Trainer:

    model = imss.build_model("sgma", {"rgb": 3, "dsm": 1, "nir": 1}, num_classes=6)
    lightning.Trainer(max_steps=100).fit(model, loader)  # of {"image": {...}, "mask": ...}

Score any model on every subset, and read leaderboards:

    table = imss.score_subsets(model.eval(), loader, {"rgb": "R", "dsm": "D"}, classes=6)
    board = imss.read_leaderboard("results/runs", "miniature")
"""

from benchmark.evaluation.any_model import score_subsets
from benchmark.evaluation.callback import MissingModalityEvaluation
from benchmark.evaluation.subset_confusion import SubsetConfusion
from benchmark.experiment.models import build_model
from benchmark.experiment.restore import TrainedRun
from benchmark.leaderboard.read import read_leaderboard
from benchmark.maps.predict_images import predict_images
from benchmark.maps.write_map import MapOptions
from benchmark.metrics.summaries import average_top1_last1
from datamodules.base import SceneDataModule
from imss.runs import load_run, load_weights, map_rasters
from methods.base import AnyModalitySegmenter
from usererror import UserError

__all__ = [
    "AnyModalitySegmenter",
    "MapOptions",
    "MissingModalityEvaluation",
    "SceneDataModule",
    "SubsetConfusion",
    "TrainedRun",
    "UserError",
    "average_top1_last1",
    "build_model",
    "load_run",
    "load_weights",
    "map_rasters",
    "predict_images",
    "read_leaderboard",
    "score_subsets",
]
