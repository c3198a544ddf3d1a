"""The subcommands of `imss`: options and what they run."""
