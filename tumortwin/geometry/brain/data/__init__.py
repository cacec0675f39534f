"""Package data of geometry/: the ICBM 152 (2009a) atlas at 2 mm; mni-notice.txt is its licence."""
