"""What mixing synthetic rows into real ones costs, from the closed forms of `collapse_jax.theory`."""
