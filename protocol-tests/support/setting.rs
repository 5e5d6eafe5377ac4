//! Numbers that the environment gives to a test: seeds, and how long it goes on.

/// The number in `variable`, if it is set.
///
/// # Panics
/// When it is set to something else: a run that somebody asked for must not be another one in silence.
pub fn number(variable: &str) -> Option<u64> {
    let text = std::env::var_os(variable)?;
    let number = text.to_str().and_then(|text| text.trim().parse().ok());
    Some(number.unwrap_or_else(|| panic!("{variable} is {text:?}, not a number")))
}
