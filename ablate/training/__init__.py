"""The parts of the training loop: number formats, noise, metrics, evaluation, checkpoints."""
