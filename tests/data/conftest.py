"""Makes the machines and takes of this folder importable from its subfolders."""
