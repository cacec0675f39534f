"""The brain of a visit: the atlas on it, its tissues, and the slow field of the receive coils."""
