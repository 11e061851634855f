"""Controllers that plants are compared with: linear predictive control on an identified model, and nonlinear on the true equations."""
