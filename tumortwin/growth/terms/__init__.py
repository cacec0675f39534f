"""The terms of the growth equation, one small class each."""
