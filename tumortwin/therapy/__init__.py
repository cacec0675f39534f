"""What treatment does: dated radiotherapy, drugs and surgery, and their effects."""
