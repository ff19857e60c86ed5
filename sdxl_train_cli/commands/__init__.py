"""One thin file for each verb; a command imports its story when it runs, so that --help comes in a blink."""
