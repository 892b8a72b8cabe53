"""Networks as functions of plain pytrees, and their training."""
