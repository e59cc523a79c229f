"""What is known: frozen data with units, pure numbers, the protocols, the errors. Imports nothing of ours above it."""
