"""The stages of the workshop, one model or data set each."""
