"""What builds and checks the things that ship beside the package. Needs the standard library only."""
