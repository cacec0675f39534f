"""What the numbers of the model are for this patient, and how well they are known."""
