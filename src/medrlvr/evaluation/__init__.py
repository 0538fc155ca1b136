"""From a trained model to numbers: generate answers once, then score and compare them as often as you like."""
