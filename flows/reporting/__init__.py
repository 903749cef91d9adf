"""What a run reports: progress, metrics, summary, report page, notifications."""
