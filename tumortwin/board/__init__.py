"""What people decide from: charts, slices, and one report in several formats."""
