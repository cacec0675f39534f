"""What could be done: schedules, dose, dose-volume histograms and their comparison."""
