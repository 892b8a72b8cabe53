"""The autoencoder study."""
