//! The meta commands.
