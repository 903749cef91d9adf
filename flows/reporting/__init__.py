"""What a run says of itself: progress, metrics, summary, report page, notifications."""
