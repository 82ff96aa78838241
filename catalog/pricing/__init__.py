"""Price arithmetic: terms and a quantity in, an exact amount and its breakdown out. Plain Python."""
