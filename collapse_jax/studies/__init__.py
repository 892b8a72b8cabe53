"""Published experiments, each a configuration and a module that builds, draws and judges it."""
