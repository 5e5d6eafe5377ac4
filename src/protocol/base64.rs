//! Base64 of keys (section 5.1 of the reference, flag `b`).
