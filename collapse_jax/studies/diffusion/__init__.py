"""The study of diffusion and flow models."""
