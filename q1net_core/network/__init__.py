"""The networks that estimate quality: architectures, weights, prediction."""
