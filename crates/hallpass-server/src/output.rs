//! What commands print: JSON, or text for people. Everything that came from outside is escaped here, in
//! one place (threat A53).

use std::fmt::Write as _;
use std::io::{self, Write};

use comfy_table::presets::{NOTHING, UTF8_NO_BORDERS};
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

use crate::terminal_text::escape;

/// Where a command prints to.
pub struct Output<'a> {
    out: &'a mut dyn Write,
    json: bool,
    terminal: bool,
}

impl std::fmt::Debug for Output<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output").field("json", &self.json).field("terminal", &self.terminal).finish_non_exhaustive()
    }
}

impl<'a> Output<'a> {
    /// Prints to `out`. `terminal` says whether a person looks at it: tables then fit the width.
    pub fn new(out: &'a mut dyn Write, json: bool, terminal: bool) -> Self {
        Self { out, json, terminal }
    }

    /// Whether JSON was asked for.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// One line of text; what acts on a terminal is written out.
    ///
    /// # Errors
    /// When it cannot be written; a broken pipe included, see [`is_broken_pipe`].
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{}", escape(text))
    }

    /// Text of our own that is several lines and holds nothing from outside.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn block(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())
    }

    /// One JSON value, indented. Characters that act on a terminal become `\u` escapes, so the value
    /// stays the same and the text is safe to look at.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string_pretty(value)?;
        writeln!(self.out, "{}", escape_json(&text))
    }

    /// A table: fitted to the width on a terminal, else one line a row, columns aligned, nothing
    /// wrapped. No colours.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn table(&mut self, head: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
        let mut table = Table::new();
        if self.terminal {
            table.load_style(UTF8_NO_BORDERS).set_content_arrangement(ContentArrangement::Dynamic);
        } else {
            table.force_no_tty().load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        }
        table.set_header(head.to_vec());
        for row in rows {
            table.add_row(row.iter().map(|cell| escape(cell).into_owned()));
        }
        if !self.terminal {
            for column in table.column_iter_mut() {
                column.set_padding((0, 2));
            }
        }
        writeln!(self.out, "{}", table.trim_fmt())
    }
}

/// Writes out, as JSON escapes, what acts on a terminal. In serialised JSON such characters (line
/// breaks of the layout apart) stand only inside strings.
fn escape_json(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        let mut buffer = [0_u8; 4];
        if c == '\n' || escape(c.encode_utf8(&mut buffer)).len() == c.len_utf8() {
            safe.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(safe, "\\u{unit:04x}");
            }
        }
    }
    safe
}

/// Whether the reader of our output went away (`hallpass user list | head`), which is no failure.
#[must_use]
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NASTY: &str = "a\u{1b}[31m\r\n\u{9b}2J\u{202e}\u{e0041}";

    fn printed(json: bool, work: impl FnOnce(&mut Output<'_>) -> io::Result<()>) -> String {
        let mut bytes = Vec::new();
        work(&mut Output::new(&mut bytes, json, false)).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    fn acts(text: &str) -> bool {
        text.lines().any(|line| escape(line) != line)
    }

    #[test]
    fn a53_lines_and_cells_are_escaped() {
        let line = printed(false, |out| out.line(NASTY));
        assert!(line.contains(r"a\u{1b}[31m\r\n") && line.lines().count() == 1 && !acts(&line));
        let table = printed(false, |out| out.table(&["NAME"], &[vec![NASTY.to_owned()]]));
        assert!(table.contains(r"a\u{1b}[31m\r\n") && table.lines().count() == 2 && !acts(&table));
    }

    #[test]
    fn a53_json_keeps_the_value_and_shows_nothing_acting() {
        let text = printed(true, |out| out.json(&serde_json::json!({"name": NASTY})));
        assert!(!acts(&text), "{text:?}");
        let back: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back["name"], NASTY);
    }

    #[test]
    fn piped_tables_are_aligned_lines_without_colour() {
        let rows =
            [vec!["a".to_owned(), "long ".repeat(60).trim().to_owned()], vec!["wide 日本".to_owned(), "x".to_owned()]];
        let table = printed(false, |out| out.table(&["ONE", "TWO"], &rows));
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0], "ONE        TWO");
        assert!(lines[1].starts_with("a          long long"));
        assert_eq!(lines[2], "wide 日本  x");
    }

    #[test]
    fn a_broken_pipe_is_recognised_through_context() {
        let pipe = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(&anyhow::Error::new(pipe).context("printing")));
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(!is_broken_pipe(&anyhow::Error::new(full)));
    }
}
