"""How good a trained world model is: protocols, floors, probes and the report a person reads."""
