"""Laws of recursive training, simulated by the laboratory's own chains and compared with `theory`.

Each module runs a few compiled programs and returns what they say about many laws.
"""
