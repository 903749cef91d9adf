"""From images back to sweeps: refining, reproducing, animating."""
