"""From files to stacks of pixels: headers, recognition of the sequence, geometry, decoding."""
