//! The log: lines on standard error, for people or as JSON.
//!
//! One event is one line whatever its fields hold (threat A53, ASVS 5.0 16.4.1): in the text form
//! everything that acts on a terminal is written out, in JSON the format does it.

use std::io::IsTerminal as _;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::debug_fn;

use crate::settings::LogFormat;
use crate::terminal_text::escape;

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoggingError {
    /// The directives do not parse.
    #[error("setting `log`: {0}; write a level or target=level pairs: info,hallpass=debug")]
    Directives(String),
    /// Somebody set up a log before.
    #[error("the log is set up already")]
    Twice,
}

/// Makes the process's log, on standard error.
///
/// # Errors
/// When the directives do not parse, or when called a second time.
pub fn start(format: LogFormat, directives: &str) -> Result<(), LoggingError> {
    let colours = std::io::stderr().is_terminal();
    let subscriber = subscriber(format, directives, colours, std::io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LoggingError::Twice)
}

/// The log as a value, writing to `writer`; `colours` is for the level word of the text form.
///
/// # Errors
/// When the directives do not parse.
pub fn subscriber<W>(
    format: LogFormat,
    directives: &str,
    colours: bool,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, LoggingError>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(directives).map_err(|error| LoggingError::Directives(error.to_string()))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(colours);
    Ok(match format {
        LogFormat::Json => Box::new(builder.json().flatten_event(true).finish()),
        LogFormat::Text => Box::new(
            builder
                .fmt_fields(
                    debug_fn(|out, field, value| {
                        let value = format!("{value:?}");
                        if field.name() == "message" {
                            write!(out, "{}", escape(&value))
                        } else {
                            write!(out, "{field}={}", escape(&value))
                        }
                    })
                    .delimited(" "),
                )
                .finish(),
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, directives: &str, work: impl FnOnce()) -> String {
        let memory = Memory::default();
        let writer = memory.clone();
        let subscriber = subscriber(format, directives, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, work);
        let bytes = memory.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    const NASTY: &str = "x\r\n2026-01-01 ERROR forged \u{1b}[2J\u{9b}31m\",\"admin\":true";

    #[test]
    fn a53_one_event_is_one_line() {
        let text = logged(LogFormat::Text, "info", || {
            let span = tracing::info_span!("request", agent = %NASTY);
            let _entered = span.enter();
            tracing::info!(user.agent = %NASTY, debugged = ?NASTY, count = 3, "seen {NASTY}");
        });
        assert_eq!(text.lines().count(), 1, "{text:?}");
        assert_eq!(escape(text.trim_end()), text.trim_end(), "nothing acts");
        assert!(
            text.contains(r"seen x\r\n2026") && text.contains(r"user.agent=x\r\n") && text.contains("count=3"),
            "{text}"
        );

        let json = logged(LogFormat::Json, "info", || {
            tracing::info!(agent = %NASTY, "seen {NASTY}");
        });
        assert_eq!(json.lines().count(), 1, "{json:?}");
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["agent"], NASTY);
        assert_eq!(value["level"], "INFO");
        assert_eq!(value.get("admin"), None);
    }

    #[test]
    fn directives_choose() {
        let work = || {
            tracing::debug!("quiet");
            tracing::warn!("loud");
        };
        let text = logged(LogFormat::Text, "warn", work);
        assert!(text.contains("loud") && !text.contains("quiet"));
        let error = subscriber(LogFormat::Text, "=[", false, io::sink).err().unwrap();
        assert!(error.to_string().contains("setting `log`"));
    }
}
