"""From choices to a finished run: prepared, launched, watched, resumed, repeated, tried."""
