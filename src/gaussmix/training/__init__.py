"""Parts of a training run that do not depend on what is trained: checkpoints, schedules, logs, progress."""
