"""What the models are trained for: losses as functions of latents, actions and nothing else."""
