"""The command line: a thin front that imports what a subcommand needs only when it runs."""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys
from collections.abc import Sequence

from benchmark import choices
from usererror import UserError

EPILOG = "Everything after the options of `bench`, `evaluate` and `profile` that this program does not know is "
EPILOG += "handed to the configuration, e.g. --trainer.max_epochs 2 --model.optimizer.lr 1e-4."


def _add_cell_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--method", default="sgma", help="method or variant: %(default)s, ... (see `imss list`)"
    )
    parser.add_argument(
        "--data", default="miniature", help="dataset or imported store (default %(default)s)"
    )
    parser.add_argument(
        "--protocol", default="standard", help="named evaluation protocol (default %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of everything (default %(default)s)"
    )
    parser.add_argument(
        "--backbone", default="", help=f"{', '.join(choices.BACKBONES)}; empty: the method's own"
    )
    parser.add_argument(
        "--logger", default="csv", choices=choices.LOGGERS, help="besides CSV (default %(default)s)"
    )


def _add_places(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runs", default=choices.DEFAULT_RUNS, help="directory of runs (default %(default)s)"
    )
    parser.add_argument(
        "--store",
        default=choices.DEFAULT_STORE,
        help="directory of scene stores (default %(default)s)",
    )


def _bench(parser: argparse.ArgumentParser) -> None:
    _add_cell_options(parser)
    _add_places(parser)
    parser.add_argument(
        "--force",
        action="store_true",
        help="run a finished cell again; the old record is set aside",
    )


def _evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", required=True, help="a checkpoint that `bench` wrote")
    parser.add_argument("--method", default="", help="fail unless the checkpoint is of this method")
    parser.add_argument("--data", default="", help="another dataset than the one trained on")
    parser.add_argument("--protocol", default="", help="another protocol than the one trained with")
    parser.add_argument(
        "--out", default="", help="directory of the record (default: beside the run)"
    )
    _add_places(parser)


def _data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", help="dataset to import, or a new name for a folder with a scenes.csv"
    )
    parser.add_argument(
        "--source", default="", help="what you downloaded: a folder (searched recursively) or a zip"
    )
    parser.add_argument(
        "--store",
        default=choices.DEFAULT_STORE,
        help="directory of scene stores (default %(default)s)",
    )
    parser.add_argument("--tiles", default="", help="import only these scenes, comma separated")
    parser.add_argument(
        "--allow-incomplete", action="store_true", help="accept missing files; the store says so"
    )
    parser.add_argument(
        "--copy", action="store_true", help="copy small rasters too, instead of referencing them"
    )
    parser.add_argument(
        "--force", action="store_true", help="import again what is already complete"
    )
    parser.add_argument(
        "--verify", action="store_true", help="compare every stored file with its checksum"
    )
    parser.add_argument(
        "--workers", type=int, default=0, help="processes (default: as many as cores, at most 4)"
    )


def _show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="imported dataset; miniatures are made on first use")
    parser.add_argument(
        "--store",
        default=choices.DEFAULT_STORE,
        help="directory of scene stores (default %(default)s)",
    )
    parser.add_argument(
        "--scenes", default="", help="scene ids, comma separated (default: a few from all parts)"
    )
    parser.add_argument("--rows", type=int, default=6, help="how many scenes (default %(default)s)")
    parser.add_argument("--split", default="", help="split column (default: the dataset's first)")
    parser.add_argument(
        "--blend",
        type=float,
        default=0.45,
        help="label's part in the last column, 0: no such column",
    )
    parser.add_argument(
        "--out", default="", help="PNG file (default: contact_sheet.png in the store)"
    )


def _add_table_options(parser: argparse.ArgumentParser, out: str) -> None:
    parser.add_argument("--data", default="", help="one dataset (default: all that have records)")
    parser.add_argument(
        "--runs", default=choices.DEFAULT_RUNS, help="directory of runs (default %(default)s)"
    )
    parser.add_argument("--out", default=out, help="directory to write (default %(default)s)")


def _leaderboard(parser: argparse.ArgumentParser) -> None:
    _add_table_options(parser, "results/leaderboards")


def _worth(parser: argparse.ArgumentParser) -> None:
    _add_table_options(parser, "results/worth")
    parser.add_argument(
        "--empty",
        default="zero",
        choices=("zero", "majority"),
        help="what no sensor at all scores: 0, or what calling every pixel the most frequent class does",
    )


def _lens(parser: argparse.ArgumentParser) -> None:
    _add_table_options(parser, "results/lens")


def _compare(parser: argparse.ArgumentParser) -> None:
    _add_table_options(parser, "results/intervals")
    parser.add_argument(
        "--methods",
        default="",
        help="comma separated, variants or groups of records (default: all)",
    )
    parser.add_argument(
        "--samples", type=int, default=2000, help="draws of the test scenes (default %(default)s)"
    )
    parser.add_argument(
        "--level", type=float, default=95.0, help="of the interval, per cent (default %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the resampling (default %(default)s)"
    )


def _tables(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runs", default=choices.DEFAULT_RUNS, help="directory of runs (default %(default)s)"
    )
    parser.add_argument(
        "--out", default="results/tables", help="directory to write (default %(default)s)"
    )


def _report(parser: argparse.ArgumentParser) -> None:
    _add_table_options(parser, "results/report")
    parser.add_argument(
        "--complexity",
        default="results/complexity",
        help="what methods cost, <data>.csv (default %(default)s)",
    )
    parser.add_argument(
        "--samples",
        type=int,
        default=2000,
        help="draws of the intervals, 0: none (default %(default)s)",
    )


def _audit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", default="results", help="directory of audit.csv and audit.md (default %(default)s)"
    )


def _profile(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--method", default="sgma", help="method or variant (default %(default)s)")
    parser.add_argument(
        "--all", action="store_true", help="every shipped method; counts only unless --timing"
    )
    parser.add_argument(
        "--data", default="potsdam", help="dataset, imported or not, or imported store of your own"
    )
    parser.add_argument(
        "--protocol", default="standard", help="named evaluation protocol (default %(default)s)"
    )
    parser.add_argument(
        "--backbone", default="", help=f"{', '.join(choices.BACKBONES)}; empty: the method's own"
    )
    parser.add_argument(
        "--store",
        default=choices.DEFAULT_STORE,
        help="directory of scene stores (default %(default)s)",
    )
    parser.add_argument(
        "--side", default="", help="of the square window, pixels (default: the dataset's)"
    )
    parser.add_argument(
        "--device", default="", help="cpu, cuda, cuda:1, ... (default: cuda where there is one)"
    )
    parser.add_argument("--timing", action="store_true", help="with --all: latency and memory too")
    parser.add_argument(
        "--rounds", type=int, default=5, help="timed repetitions after a warm-up; minimums count"
    )
    parser.add_argument(
        "--out", default="results/complexity", help="directory to write (default %(default)s)"
    )


def _picture(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", required=True, help="a run directory that `bench` wrote")
    parser.add_argument("--out", default="", help="PNG file (default: prediction.png in the run)")
    parser.add_argument("--scene", default="", help="scene id (default: the first test scene)")


def _predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", required=True, help="a run directory that `bench` wrote")
    parser.add_argument(
        "--input",
        required=True,
        nargs="+",
        action="extend",
        metavar="MODALITY=FILE[:BANDS]",
        help="what is there of the run's modalities, e.g. rgb=a.tif nir=b.tif:4; the others are missing",
    )
    parser.add_argument("--out", required=True, help="GeoTIFF to write")
    parser.add_argument(
        "--probabilities",
        action="store_true",
        help="also <out>_probabilities.tif, a band per class",
    )
    parser.add_argument(
        "--ignore-nodata",
        action="store_true",
        help="read pixels that a file calls nodata like others",
    )
    parser.add_argument(
        "--window", type=int, default=0, help="pixels (default: the run's evaluation window)"
    )
    parser.add_argument(
        "--stride", type=int, default=0, help="pixels (default: a tenth of the window, plus 1)"
    )
    parser.add_argument(
        "--check-seams",
        action="store_true",
        help="also count the labels that change when all windows are moved (makes the map three times more)",
    )
    parser.add_argument(
        "--store", default="", help="directory of scene stores, for runs without inputs.json"
    )


def _examples(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", required=True, help="a run directory that `bench` wrote")
    parser.add_argument(
        "--scenes", default="", help="ids, comma separated (default: a few, evenly spread)"
    )


def _synthesised(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", required=True, help="a run directory that `bench` wrote")
    parser.add_argument(
        "--scenes", default="", help="ids, comma separated (default: all test scenes)"
    )
    parser.add_argument(
        "--out", default="", help="directory to write (default: synthesised in the run)"
    )


def _diagnose(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", required=True, help="a run directory that `bench` wrote")
    parser.add_argument(
        "--scenes", default="", help="ids, comma separated (default: all test scenes)"
    )
    parser.add_argument(
        "--out", default="", help="directory to write (default: diagnostics in the run)"
    )
    parser.add_argument(
        "--points",
        type=int,
        default=500,
        help="per class, for silhouette and t-SNE (default %(default)s)",
    )


def _dashboard(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", default="miniature", help="dataset with run records (default %(default)s)"
    )
    parser.add_argument(
        "--runs", default=choices.DEFAULT_RUNS, help="directory of runs (default %(default)s)"
    )
    parser.add_argument(
        "--project",
        default="",
        help=f"W&B project (default: WANDB_PROJECT, or {choices.WANDB_PROJECT})",
    )
    parser.add_argument(
        "--entity", default="", help="W&B user or team (default: WANDB_ENTITY, or your own)"
    )


def _publish(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", required=True, help="a run directory that `bench` wrote")


def _list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--store",
        default=choices.DEFAULT_STORE,
        help="directory of scene stores (default %(default)s)",
    )


# name -> (help, options, module with `run(arguments, overrides)`); the one place for subcommands
COMMANDS = {
    "bench": (
        "train a method, score every modality subset, write the leaderboard",
        _bench,
        "benchmark.commands.bench",
    ),
    "evaluate": (
        "score a checkpoint on every modality subset",
        _evaluate,
        "benchmark.commands.evaluate",
    ),
    "data": (
        "import a dataset into the scene store, or verify it",
        _data,
        "benchmark.commands.data",
    ),
    "show": (
        "draw an imported dataset: scenes, rasters, labels, class shares, statistics",
        _show,
        "benchmark.commands.show",
    ),
    "leaderboard": (
        "rebuild the leaderboards from run records",
        _leaderboard,
        "benchmark.commands.leaderboard",
    ),
    "tables": (
        "write the papers' tables with what run records give beside them",
        _tables,
        "benchmark.commands.tables",
    ),
    "audit": (
        "recompute what papers derive from their own printed numbers",
        _audit,
        "benchmark.commands.audit",
    ),
    "worth": (
        "what each sensor is worth, and what is left when sensors fail",
        _worth,
        "benchmark.commands.worth",
    ),
    "compare": (
        "intervals of the differences between methods, over test scenes",
        _compare,
        "benchmark.commands.compare",
    ),
    "lens": (
        "one leaderboard under each named convention, and where the ranking changes",
        _lens,
        "benchmark.commands.lens",
    ),
    "profile": (
        "parameters, multiply-accumulates, latency and memory of a method",
        _profile,
        "benchmark.commands.profile",
    ),
    "picture": (
        "draw a scene, its modalities, label and the prediction of every subset",
        _picture,
        "benchmark.commands.picture",
    ),
    "predict": (
        "write the class map of any rasters as a GeoTIFF",
        _predict,
        "benchmark.commands.predict",
    ),
    "examples": (
        "store small pictures of a few test scenes beside a run",
        _examples,
        "benchmark.commands.examples",
    ),
    "report": ("write one page that shows all run records", _report, "benchmark.commands.report"),
    "synthesised": (
        "draw what a method paints of missing modalities beside the true ones, with L1 and PSNR",
        _synthesised,
        "benchmark.commands.synthesised",
    ),
    "diagnose": (
        "spread of features, silhouette, t-SNE, robustness maps and sampling inside a trained network",
        _diagnose,
        "benchmark.commands.diagnose",
    ),
    "dashboard": (
        "save a W&B workspace for the runs of a dataset",
        _dashboard,
        "benchmark.commands.dashboard",
    ),
    "publish": (
        "copy a run's slim record to results/records",
        _publish,
        "benchmark.commands.publish",
    ),
    "list": ("list methods, datasets, protocols and backbones", _list, "benchmark.commands.list"),
}
PASS_ON = ("bench", "evaluate", "profile")
RESUMES = ("bench", "data")


def build_parser() -> argparse.ArgumentParser:
    """The argument parser of all subcommands."""
    parser = argparse.ArgumentParser(
        prog="imss",
        description="Benchmark of incomplete multimodal semantic segmentation.",
        epilog=EPILOG,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (text, add_options, _) in COMMANDS.items():
        add_options(
            commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; a user's mistake is one line on stderr and exit status 2, an interruption 130."""
    parser = build_parser()
    arguments, overrides = parser.parse_known_args(argv)
    if overrides and arguments.command not in PASS_ON:
        parser.error(f"unrecognized arguments: {' '.join(overrides)}")
    try:
        importlib.import_module(COMMANDS[arguments.command][2]).run(arguments, overrides)
        sys.stdout.flush()
    except UserError as error:
        # a reading process hands its error over with a traceback in front
        print(f"imss: {str(error).rsplit('UserError: ', 1)[-1].strip()}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # the flush at exit would fail again
        return 141
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        print(
            f"imss: the disk is full ({error}); make room, the same command continues.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        goes_on = "continues where it stopped" if arguments.command in RESUMES else "starts again"
        print(f"imss: interrupted; the same command {goes_on}.", file=sys.stderr)
        return 130
    return 0


def cli() -> None:
    """Console script."""
    sys.exit(main())


if __name__ == "__main__":
    cli()
