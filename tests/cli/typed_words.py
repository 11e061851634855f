"""Options of the small store and the small run that these tests work with."""

RECORD = ["--episodes", "20", "--steps", "16"]
TRAIN = ["--size", "xs", "--steps", "6", "--threads", "1"]
EVAL = ["--episodes", "4", "--budget", "5", "--threads", "1"]
