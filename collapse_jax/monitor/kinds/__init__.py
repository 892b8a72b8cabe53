"""What samples may be: numbers, images, tables, texts; each learns from part of the reference how to look at rows."""
