"""What people said about a catalog's images, and what is learnt from it: log, rankings, agreement, taste."""
