"""From a source on disk to a scene store: plan, check, decode, write, journal."""
