"""The parts of `./countinghouse`. Standard library only: this code runs before anything is installed."""
