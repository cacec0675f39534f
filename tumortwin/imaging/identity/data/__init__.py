"""The profile, the terms and the words that de-identification goes by."""
