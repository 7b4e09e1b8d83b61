//! The facts of a sign-in as one text: no statement asks about one of them, they are always written together, and each column that a
//! check need not decode saves it a fortieth of its time.
//!
//! Lines: address, source, user agent (empty if there is none), and one for each method. A line feed within a fact is written as `\n` and a
//! backslash as `\\`; `\0` stands for no user agent. Legible in any tool.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;

use hallpass_core::{Authentication, Client};

const NO_USER_AGENT: &str = "\\0";

/// As text.
pub(crate) fn write(client: &Client, authentication: &Authentication) -> String {
    let mut text = client.ip.map(|ip| ip.to_string()).unwrap_or_default();
    text.push('\n');
    escape(&authentication.source, &mut text);
    text.push('\n');
    match &client.user_agent {
        Some(user_agent) => escape(user_agent, &mut text),
        None => text.push_str(NO_USER_AGENT),
    }
    for method in &authentication.methods {
        text.push('\n');
        escape(method, &mut text);
    }
    text
}

/// From text; `None` if it is of another form.
pub(crate) fn read(text: &str) -> Option<(Client, Arc<Authentication>)> {
    let (ip, rest) = text.split_once('\n')?;
    let (source, rest) = rest.split_once('\n')?;
    let (user_agent, methods) = match rest.split_once('\n') {
        Some((user_agent, methods)) => (user_agent, Some(methods)),
        None => (rest, None),
    };
    let client = Client {
        ip: if ip.is_empty() { None } else { Some(ip.parse().ok()?) },
        user_agent: if user_agent == NO_USER_AGENT { None } else { Some(unescaped(user_agent)?.into()) },
    };
    Some((client, authentication(source, methods)?))
}

/// How the user of the last row that this thread has read had authenticated: nearly always the next one did the same way, which spares a check four
/// allocations.
struct Last {
    source: String,
    methods: Option<String>,
    authentication: Arc<Authentication>,
}

thread_local! {
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
}

fn authentication(source: &str, methods: Option<&str>) -> Option<Arc<Authentication>> {
    LAST.with_borrow_mut(|last| {
        if let Some(last) = last
            && last.source == source
            && last.methods.as_deref() == methods
        {
            return Some(Arc::clone(&last.authentication));
        }
        let each = methods.into_iter().flat_map(|methods| methods.split('\n'));
        let each = each.map(|method| unescaped(method).map(Cow::into_owned)).collect::<Option<Vec<String>>>()?;
        let authentication = Arc::new(Authentication { methods: each, source: unescaped(source)?.into_owned() });
        *last = Some(Last {
            source: source.to_owned(),
            methods: methods.map(str::to_owned),
            authentication: Arc::clone(&authentication),
        });
        Some(authentication)
    })
}

fn escape(fact: &str, text: &mut String) {
    for part in fact.split_inclusive(['\\', '\n']) {
        match part.as_bytes().split_last() {
            Some((b'\\', _)) => {
                text.push_str(part);
                text.push('\\');
            }
            Some((b'\n', _)) => {
                text.push_str(&part[..part.len() - 1]);
                text.push_str("\\n");
            }
            _ => text.push_str(part),
        }
    }
}

/// Nearly always as it stands there.
fn unescaped(line: &str) -> Option<Cow<'_, str>> {
    let Some((plain, mut rest)) = line.split_once('\\') else {
        return Some(Cow::Borrowed(line));
    };
    let mut fact = plain.to_owned();
    loop {
        fact.push(match rest.as_bytes().first() {
            Some(b'\\') => '\\',
            Some(b'n') => '\n',
            _ => return None,
        });
        match rest[1..].split_once('\\') {
            Some((plain, after)) => {
                fact.push_str(plain);
                rest = after;
            }
            None => {
                fact.push_str(&rest[1..]);
                return Some(Cow::Owned(fact));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(ip: Option<&str>, user_agent: Option<&str>, source: &str, methods: &[&str]) -> (Client, Authentication) {
        let client = Client { ip: ip.map(|ip| ip.parse().unwrap()), user_agent: user_agent.map(Into::into) };
        let methods = methods.iter().map(|method| (*method).to_owned()).collect();
        (client, Authentication { methods, source: source.to_owned() })
    }

    #[test]
    fn the_usual_text() {
        let (client, authentication) =
            facts(Some("192.0.2.1"), Some("Mozilla/5.0 (X11)"), "credentials", &["pwd", "otp"]);
        assert_eq!(write(&client, &authentication), "192.0.2.1\ncredentials\nMozilla/5.0 (X11)\npwd\notp");
    }

    #[test]
    fn every_fact_reads_back() {
        let texts = ["", "a", "\\", "\n", "\\0", "\\n", "a\\\n\\\\b\n", "é\\é\n", "\\0x"];
        for user_agent in std::iter::once(None).chain(texts.map(Some)) {
            for source in texts {
                for methods in [&[][..], &[""], &["", ""], &["pwd"], &["\\", "\n", "\\n"]] {
                    for ip in [None, Some("192.0.2.1"), Some("2001:db8::1")] {
                        let (client, authentication) = facts(ip, user_agent, source, methods);
                        let text = write(&client, &authentication);
                        assert_eq!(read(&text), Some((client, authentication.into())), "{text:?}");
                    }
                }
            }
        }
    }

    /// What is remembered of one row is not taken for the next, if that differs in one of the two.
    #[test]
    fn the_next_row_may_have_another_source_or_other_methods() {
        for (source, methods) in [
            ("a", &["pwd"][..]),
            ("b", &["pwd"]),
            ("b", &["otp"]),
            ("b", &[]),
            ("a", &[]),
            ("a", &[""]),
            ("a", &["pwd"]),
        ] {
            let (client, authentication) = facts(None, None, source, methods);
            let text = write(&client, &authentication);
            assert_eq!(read(&text), Some((client, authentication.into())), "{text:?}");
        }
    }

    #[test]
    fn another_form_is_refused() {
        for text in ["", "192.0.2.1", "192.0.2.1\na", "x\na\nb", "\na\\\nb", "\na\\xb\nc", "\na\nb\n\\0", "\n\\0\nb"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}
