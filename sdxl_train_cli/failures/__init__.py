"""Why a run failed: a log -> cause and remedy."""
