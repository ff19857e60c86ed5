"""One thin file per command, in folders like the command tree: flags, one call, output."""
