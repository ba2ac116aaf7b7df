//! Parses the arguments and runs the command.

fn main() {}
