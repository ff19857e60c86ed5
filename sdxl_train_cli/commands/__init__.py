"""One thin file for each verb, in folders like the command tree: flags, one call, what is printed."""
