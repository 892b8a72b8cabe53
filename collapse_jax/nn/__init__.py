"""Networks as functions of plain pytrees."""
