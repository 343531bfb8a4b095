"""Many images at once: files, folders and series to masks, a table and a page."""
