"""The commands of `mhkd`, one a file; heavy imports inside, so that --help stays fast."""
