//! The scripts. Each declares every key that it touches, all in one slot; each is sent by its hash, and as text where the server does not know it.

use redis::Cmd;

use crate::keys::{Keys, Place};
use crate::options::RedisOptions;

/// One script.
#[derive(Debug)]
pub(crate) struct Script {
    hash: String,
    text: String,
    /// The keys of the place itself that come first.
    keys: Vec<&'static str>,
    reads: bool,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Scripts {
    pub(crate) create: Script,
    pub(crate) renew: Script,
    pub(crate) rotate: Script,
    pub(crate) label: Script,
    pub(crate) attributes: Script,
    pub(crate) touch: Script,
    pub(crate) revoke_one: Script,
    pub(crate) revoke_user: Script,
    pub(crate) revoke_everyone: Script,
    pub(crate) settle: Script,
    pub(crate) sweep: Script,
    pub(crate) unexpired: Script,
    pub(crate) peek: Script,
    pub(crate) rows: Script,
    pub(crate) count: Script,
    pub(crate) census: Script,
    pub(crate) append: Script,
    pub(crate) begin_everyone: Script,
    pub(crate) forget: Script,
    pub(crate) changes: Script,
    pub(crate) trim_log: Script,
    pub(crate) found: Script,
    pub(crate) raise_layout: Script,
    pub(crate) tell_node: Script,
    pub(crate) forget_node: Script,
    pub(crate) nodes: Script,
}

/// What a script may do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing.
    Read,
    /// Write, while there is memory.
    Write,
    /// Write in any case: ending sessions and removing them must work when the memory is full.
    Needed,
}

const FOLLOW: &str = include_str!("lua/follow.lua");
const PRELUDE: &str = include_str!("lua/prelude.lua");

impl Scripts {
    /// `direct` where one server holds everything, so that the log is written in the same script.
    pub(crate) fn new(direct: bool, options: &RedisOptions) -> Self {
        let log: &[&'static str] = if direct { &["inc", "n", "log", "rid"] } else { &["o", "eo"] };
        let emit = if direct {
            format!("{FOLLOW}{}", include_str!("lua/direct.lua"))
        } else {
            include_str!("lua/outbox.lua").to_owned()
        };
        // Where the newest mark is.
        let (mark, newest) = if direct {
            ("newest", include_str!("lua/newest_direct.lua"))
        } else {
            ("mx", include_str!("lua/newest.lua"))
        };
        let new = |kind, keys, shared: &str, body| Script::new(kind, keys, [newest, PRELUDE, shared, body], options);
        let plain = |kind, keys: &[&'static str], body| new(kind, keys.to_vec(), "", body);
        let logged = |kind, keys: &[&'static str], body| new(kind, [keys, log].concat(), &emit, body);
        let of_log = |kind, keys: &[&'static str], body| new(kind, keys.to_vec(), FOLLOW, body);
        let created: &[&'static str] = if direct {
            &["c", mark, "marks", "a", "b", "x", "z", "used"]
        } else {
            &["c", mark, "marks", "a", "b", "x", "z"]
        };
        let everyone: &[&'static str] = if direct { &[mark] } else { &[mark, "ev"] };
        Self {
            create: logged(Kind::Write, created, include_str!("lua/create.lua")),
            renew: plain(Kind::Needed, &[mark, "marks", "x"], include_str!("lua/renew.lua")),
            rotate: logged(Kind::Needed, &[mark, "marks", "x"], include_str!("lua/rotate.lua")),
            label: logged(Kind::Write, &[mark, "marks"], include_str!("lua/label.lua")),
            attributes: logged(Kind::Write, &[mark, "marks"], include_str!("lua/attributes.lua")),
            touch: plain(Kind::Needed, &[mark, "marks"], include_str!("lua/touch.lua")),
            revoke_one: logged(
                Kind::Needed,
                &["c", mark, "marks", "a", "b", "x", "z"],
                include_str!("lua/revoke_one.lua"),
            ),
            revoke_user: logged(Kind::Needed, &["c", mark, "marks", "mq"], include_str!("lua/revoke_user.lua")),
            revoke_everyone: logged(Kind::Needed, everyone, include_str!("lua/revoke_everyone.lua")),
            settle: plain(
                Kind::Needed,
                &[mark, "marks", "mq", "mc", "a", "b", "x", "z"],
                include_str!("lua/settle.lua"),
            ),
            sweep: plain(Kind::Needed, &["a", "b", "x", "z"], include_str!("lua/sweep.lua")),
            unexpired: plain(Kind::Read, &[], include_str!("lua/unexpired.lua")),
            peek: plain(Kind::Read, &[], include_str!("lua/peek.lua")),
            rows: plain(Kind::Read, &[mark, "marks"], include_str!("lua/rows.lua")),
            count: plain(Kind::Read, &[mark, "marks"], include_str!("lua/count.lua")),
            census: plain(Kind::Read, &[], include_str!("lua/census.lua")),
            append: of_log(Kind::Needed, &["inc", "n", "log", "rid", "everyone"], include_str!("lua/append.lua")),
            begin_everyone: plain(Kind::Needed, &["everyone", "ticket"], include_str!("lua/begin_everyone.lua")),
            forget: plain(Kind::Needed, &["o", "eo"], include_str!("lua/forget.lua")),
            changes: plain(Kind::Read, &["inc", "n", "log"], include_str!("lua/changes.lua")),
            trim_log: plain(Kind::Needed, &["log"], include_str!("lua/trim_log.lua")),
            found: of_log(Kind::Needed, &["inc", "n", "rid", "layout"], include_str!("lua/found.lua")),
            raise_layout: plain(Kind::Needed, &["layout"], include_str!("lua/raise_layout.lua")),
            tell_node: plain(Kind::Needed, &["nodes"], include_str!("lua/tell_node.lua")),
            forget_node: plain(Kind::Needed, &["nodes"], include_str!("lua/forget_node.lua")),
            nodes: plain(Kind::Read, &["nodes"], include_str!("lua/nodes.lua")),
        }
    }
}

impl Script {
    fn new(kind: Kind, keys: Vec<&'static str>, parts: [&str; 4], options: &RedisOptions) -> Self {
        let flags = match kind {
            Kind::Read => " flags=no-writes",
            Kind::Write => "",
            Kind::Needed => " flags=allow-oom",
        };
        let names: Vec<String> = (1..).zip(&keys).map(|(n, name)| format!("{name} = KEYS[{n}]")).collect();
        let text = format!(
            "#!lua{flags}\nlocal K, B = {{ {} }}, {}\nlocal GRACE, RETENTION, NEVER = {}, {}, {}\n{}{}",
            names.join(", "),
            keys.len(),
            options.expiry_grace().as_millis(),
            options.ended_retention().as_millis(),
            hallpass_core::Timestamp::NEVER.as_millis(),
            include_str!("lua/text.lua"),
            parts.concat(),
        );
        let hash = redis::Script::new(&text).get_hash().to_owned();
        Self { hash, text, keys, reads: kind == Kind::Read }
    }
}

/// A script with its keys and arguments.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    script: &'a Script,
    place: Place,
    keys: Vec<Vec<u8>>,
    arguments: Vec<Vec<u8>>,
}

impl<'a> Request<'a> {
    pub(crate) fn new(script: &'a Script, keys: &Keys, place: Place) -> Self {
        const LOG: [&str; 6] = ["inc", "n", "log", "rid", "newest", "used"];
        let of = |name: &&str| keys.of(if LOG.contains(name) { Place::LOG } else { place }, name);
        Self { script, place, keys: script.keys.iter().map(of).collect(), arguments: Vec::new() }
    }

    pub(crate) fn key(mut self, key: Vec<u8>) -> Self {
        self.keys.push(key);
        self
    }

    pub(crate) fn keys(mut self, keys: impl IntoIterator<Item = Vec<u8>>) -> Self {
        self.keys.extend(keys);
        self
    }

    pub(crate) fn argument(mut self, argument: impl Into<Vec<u8>>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    pub(crate) fn number(self, number: impl Copy + ToString) -> Self {
        self.argument(number.to_string())
    }

    pub(crate) const fn place(&self) -> Place {
        self.place
    }

    pub(crate) const fn reads(&self) -> bool {
        self.script.reads
    }

    /// By its hash, or as text.
    pub(crate) fn command(&self, as_text: bool) -> Cmd {
        let (name, script) = match (as_text, self.script.reads) {
            (false, false) => ("EVALSHA", &self.script.hash),
            (false, true) => ("EVALSHA_RO", &self.script.hash),
            (true, false) => ("EVAL", &self.script.text),
            (true, true) => ("EVAL_RO", &self.script.text),
        };
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.keys.len()).arg(&self.keys).arg(&self.arguments);
        command
    }
}
