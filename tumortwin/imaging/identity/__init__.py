"""Who a file is of: pseudonyms, the de-identification profile of DICOM PS3.15, and words that name people."""
