"""Words typed for the configuration, and which of them make another experiment."""

from collections.abc import Mapping, Sequence
from typing import Any

# devices, loggers, workers and paths may differ between two runs of one experiment; callbacks may
# not, as some stop the training or average its weights
IRRELEVANT_TRAINER = {
    *("accelerator", "barebones", "default_root_dir", "enable_checkpointing"),
    *("enable_model_summary", "enable_progress_bar", "log_every_n_steps", "logger"),
    *("num_sanity_val_steps", "profiler"),
}
IRRELEVANT_DATA = {"name", "num_workers", "store"}
# a mark, what is faster and else the same, and what is measured beside
IRRELEVANT_CELL = {"compile", "control", "learning"}
# the seed has a column of its own
IRRELEVANT = {"seed_everything", "model.seed", "data.seed"}
IRRELEVANT |= set(map("cell.{}".format, IRRELEVANT_CELL))
IRRELEVANT |= set(map("trainer.{}".format, IRRELEVANT_TRAINER))
IRRELEVANT |= set(map("data.{}".format, IRRELEVANT_DATA))


def deciding_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a resolved configuration that decides numbers; seeds are part of it.

    Example:
        >>> deciding_settings({"cell": {"method": "sgma", "control": True}, "seed_everything": 0})
        {'cell': {'method': 'sgma'}, 'seed_everything': 0}
    """
    content = {section: value for section, value in config.items() if section != "config"}
    for section, names in (("cell", IRRELEVANT_CELL), ("trainer", IRRELEVANT_TRAINER)):
        if section in content:
            content[section] = _without(content[section], names)
    if "data" in content:
        arguments = _without(content["data"]["init_args"], IRRELEVANT_DATA)
        content["data"] = {**content["data"], "init_args": arguments}
    return content


def _without(section: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key not in names}


def read_overrides(words: Sequence[str]) -> list[tuple[str, str]]:
    """Read words into (dotted key, value), as the parser of the configuration does.

    Example:
        >>> read_overrides(["--data.window", "64", "--model.init_args.optimizer.lr=1e-3"])
        [('data.window', '64'), ('model.optimizer.lr', '1e-3')]
    """
    pairs: list[tuple[str, str]] = []
    for word in words:
        if word.startswith("--"):
            key, _, value = word[2:].partition("=")
            # the section may be left out on the command line
            pairs.append((key.replace(".init_args.", ".", 1), value))
        elif pairs:
            # several words of one option
            key, value = pairs[-1]
            pairs[-1] = key, f"{value} {word}".strip()
        else:
            pairs.append(("", word))
    return pairs


def describe_overrides(words: Sequence[str]) -> str:
    """Name what was typed and makes another experiment, for a row of a table.

    Example:
        >>> describe_overrides(["--data.window", "64", "--trainer.enable_progress_bar", "false"])
        'data.window=64'
        >>> describe_overrides(["--data.window", "64", "--data.stride", "9", "--data.window=96"])
        'data.window=96 data.stride=9'
    """
    shown = {}
    for key, value in read_overrides(words):
        # a logger may be typed in parts, `trainer.logger.save_dir`
        if not {key, ".".join(key.split(".")[:2])} & IRRELEVANT:
            # of an option that is typed twice the last word counts
            shown[key] = f"{key}={value}" if key else value
            if key == "cell.tuned":
                # how many trials the search had that chose the others
                shown[key] = f"tuned ({value})"
    return " ".join(shown.values())
