"""From a configuration to a run folder: reading, training, judging, predicting."""
