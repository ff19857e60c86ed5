r"""Plays the two SDXL scripts of kohya-ss/sd-scripts v0.10.1: same options, same printed signs, same files; no training.

Files keep their real names, tensor keys and metadata keys; the numbers in them mean nothing (the metadata says so:
`standin`). Environment variables:

    STANDIN_STEP_SECONDS   length of one step, 0.02 unless told
    STANDIN_START_SECONDS  time before the first step, as for loading a model; 0 unless told
    STANDIN_LAST_SAVE_SECONDS  time between the last step and the whole result, 0 unless told
    STANDIN_WAIT_SECONDS   the longest that a mode below that waits will wait before it exits 1; 600 unless told
    STANDIN_FAIL           what goes wrong, NAME or NAME@STEP

    NAME              without @STEP      what happens
    ----------------  -----------------  -------------------------------------------------------------------------
    exit-0-silently   at once            exit code 0, nothing printed, nothing written
    tokenizer         before training    OSError "Can't load tokenizer for ...", exit code 1
    oom               after step 1       traceback ending in "torch.OutOfMemoryError: CUDA out of memory...", exit code 1,
                                         unless the word in STANDIN_OOM_UNLESS is on the command line
    crash             after step 1       traceback ending in "RuntimeError: the stand-in was told to crash", exit code 1
    sigkill           after step 1       kills itself with SIGKILL (what is still in the buffer of stdout is lost)
    hang              at once            prints nothing (more) and waits
    nan               from step 1        avr_loss=nan, otherwise a good run (as upstream: exit code 0 and a file)
    garbage           after step 1       invalid UTF-8, NUL bytes, a line of 1 MiB without an end and a bar line cut in
                                         the middle of a character, on both streams; otherwise a good run
    ignore-sigterm    at once            ignores SIGTERM and SIGINT; otherwise a good run
    grandchild        after step 1       starts a process that holds stdout and stderr and waits, prints its id
                                         ("grandchild PID"); otherwise a good run, which that process outlives
    half-file         the first save     writes half of that checkpoint under its final name and waits
    disk-full         the first save     writes a part of that checkpoint, then OSError "No space left on device", exit
                                         code 1; with @STEP, here and above: the first save at or after that step
    no-model-saved    at the end         exit code 0, but no last file and no "model saved."
    saved-but-absent  at the end         exit code 0 and "model saved.", but no last file

With @STEP, `hang`, `ignore-sigterm` and `tokenizer` too wait for the end of that step.
The bar goes to stderr with \r, what accelerate prints to stdout, what upstream logs to stderr in rich's columns of 80,
or to stdout as plain lines with --console_log_simple.
"""
