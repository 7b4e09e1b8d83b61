//! Values written into the text of a statement: hexadecimal literals and integers alone, so that no content can be read as SQL.

use std::fmt::Write as _;

/// How many ids one statement names at most: about 18 KiB of text.
pub(crate) const MAX_IDS: usize = 500;

/// `x'…'`
pub(crate) fn bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2 + 3);
    push_bytes(&mut text, bytes);
    text
}

/// `x'…', x'…'`
pub(crate) fn ids<'a>(ids: impl IntoIterator<Item = &'a [u8; 16]>) -> String {
    let mut text = String::new();
    for id in ids {
        if !text.is_empty() {
            text.push(',');
        }
        push_bytes(&mut text, id);
    }
    text
}

/// `CASE s.id WHEN x'…' THEN … END`, to give each row a value of its own.
pub(crate) fn by_id<'a>(values: impl IntoIterator<Item = (&'a [u8; 16], String)>) -> String {
    let mut text = String::from("CASE s.id");
    for (id, value) in values {
        text.push_str(" WHEN ");
        push_bytes(&mut text, id);
        text.push_str(" THEN ");
        text.push_str(&value);
    }
    text.push_str(" END");
    text
}

/// Puts values in the place of their names, for example of `{ids}`.
pub(crate) fn fill(statement: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(statement.to_owned(), |text, (name, value)| text.replace(name, value))
}

fn push_bytes(text: &mut String, bytes: &[u8]) {
    text.push_str("x'");
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_never_sql() {
        assert_eq!(bytes(b"' OR 1; --"), "x'27204f5220313b202d2d'");
        assert_eq!(bytes(b""), "x''");
        let filled = fill("IN ({ids}) = {at}", &[("{ids}", &ids([&[1; 16], &[0xff; 16]])), ("{at}", "7")]);
        let by_id = by_id([(&[1; 16], bytes(b"' OR")), (&[0xff; 16], String::from("7"))]);
        assert_eq!(
            by_id,
            "CASE s.id WHEN x'01010101010101010101010101010101' THEN x'27204f52' WHEN x'ffffffffffffffffffffffffffffffff' THEN 7 END"
        );
        assert_eq!(filled, "IN (x'01010101010101010101010101010101',x'ffffffffffffffffffffffffffffffff') = 7");
    }
}
