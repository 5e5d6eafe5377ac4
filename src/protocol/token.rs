//! Words and numbers of a line.
