"""The signer: keys on disk or elsewhere, timestamps."""
