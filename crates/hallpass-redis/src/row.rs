//! Sessions to strings of bytes and back. `lua/prelude.lua` reads and writes the same layout, number 1.
//!
//! Layout (1 byte); idle deadline, last renewal, last use (8 each, big-endian); token hash (32); creation, authentication, absolute deadline,
//! epoch, version of the attributes, end or -1 (8 each); then, each after its length (4), user, class, kind and name of who ended it, why,
//! label, address (4 or 16 bytes), methods, source, user agent, attributes. A text that may be absent begins with `+` when it is there.

use std::net::IpAddr;
use std::sync::Arc;

use hallpass_core::store::Record;
use hallpass_core::{
    Actor, ActorKind, Attributes, Authentication, Class, Client, EndReason, Ended, Label, Session, SessionId, State,
    Timestamp, TokenHash, UserId,
};

use crate::answer::{Read, Unreadable};

const LAYOUT: u8 = 1;

/// A new session. The script puts the epoch in.
pub(crate) fn encoded(record: &Record) -> Vec<u8> {
    let Record { session, token_hash } = record;
    let mut row = Vec::with_capacity(320);
    row.push(LAYOUT);
    let idle = session.idle_expires_at.min(session.absolute_expires_at);
    for time in [idle, session.renewed_at, session.last_seen_at] {
        row.extend_from_slice(&time.as_millis().to_be_bytes());
    }
    row.extend_from_slice(token_hash.as_bytes());
    for time in [session.created_at, session.authenticated_at, session.absolute_expires_at] {
        row.extend_from_slice(&time.as_millis().to_be_bytes());
    }
    let version = i64::try_from(session.attributes_version).unwrap_or(i64::MAX);
    for number in [0, version, -1] {
        row.extend_from_slice(&number.to_be_bytes());
    }
    let texts: [Vec<u8>; 11] = [
        session.user.as_str().into(),
        session.class.as_str().into(),
        Vec::new(),
        Vec::new(),
        Vec::new(),
        present(session.label.as_ref().map(Label::as_str)).into(),
        address(session.client.ip),
        methods_text(&session.authentication).into(),
        session.authentication.source.as_str().into(),
        present(session.client.user_agent.as_deref()).into(),
        session.attributes.to_json().into(),
    ];
    for text in texts {
        row.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        row.extend_from_slice(&text);
    }
    row
}

/// The bytes of an address; none for none.
pub(crate) fn address(ip: Option<IpAddr>) -> Vec<u8> {
    match ip {
        None => Vec::new(),
        Some(IpAddr::V4(ip)) => ip.octets().to_vec(),
        Some(IpAddr::V6(ip)) => ip.octets().to_vec(),
    }
}

/// A text that may be absent.
pub(crate) fn present(text: Option<&str>) -> String {
    text.map_or_else(String::new, |text| format!("+{text}"))
}

/// The methods as JSON text.
pub(crate) fn methods_text(authentication: &Authentication) -> String {
    serde_json::to_string(&authentication.methods).unwrap_or_else(|_| String::from("[]"))
}

/// A session, and its epoch.
pub(crate) fn decoded(id: SessionId, row: &[u8]) -> Read<(Record, u64)> {
    let mut row = Reader(row);
    if row.take::<1>()? != [LAYOUT] {
        return Err(Unreadable);
    }
    let (idle_expires_at, renewed_at, last_seen_at) = (row.time()?, row.time()?, row.time()?);
    let token_hash = TokenHash::from_bytes(row.take()?);
    let (created_at, authenticated_at, absolute_expires_at) = (row.time()?, row.time()?, row.time()?);
    let (epoch, attributes_version, ended_at) = (row.count()?, row.count()?, row.number()?);
    let user = UserId::new(row.text()?).map_err(|_| Unreadable)?;
    let class = Class::new(row.text()?).map_err(|_| Unreadable)?;
    let (kind, by, reason) = (row.text()?, row.text()?, row.text()?);
    let state = match Timestamp::from_millis(ended_at) {
        _ if ended_at < 0 => State::Live,
        at => State::Ended(ended(at, kind, by, reason)?),
    };
    let label = row.optional(|text| Label::new(text).ok().flatten())?;
    let ip = match row.bytes()? {
        [] => None,
        bytes => Some(ip(bytes)?),
    };
    let authentication = Arc::new(Authentication { methods: methods(row.text()?)?, source: row.text()?.to_owned() });
    let user_agent = row.optional(|text| Some(Arc::from(text)))?;
    let attributes = attributes(row.text()?)?;
    let session = Session {
        id,
        user,
        class,
        created_at,
        authenticated_at,
        renewed_at,
        last_seen_at,
        idle_expires_at,
        absolute_expires_at,
        client: Client { ip, user_agent },
        label,
        authentication,
        attributes,
        attributes_version,
        state,
    };
    Ok((Record { session, token_hash }, epoch))
}

/// How a mark ends what lies behind it.
pub(crate) fn encoded_end(end: &Ended) -> Vec<u8> {
    let mut bytes = end.at.as_millis().to_be_bytes().to_vec();
    for text in [end.by.kind.as_str(), &end.by.name, end.reason.as_str()] {
        bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

pub(crate) fn decoded_end(bytes: &[u8]) -> Read<Ended> {
    let mut reader = Reader(bytes);
    ended(reader.time()?, reader.text()?, reader.text()?, reader.text()?)
}

fn ended(at: Timestamp, kind: &str, by: &str, reason: &str) -> Read<Ended> {
    let kind = ActorKind::parse(kind).ok_or(Unreadable)?;
    let reason = EndReason::parse(reason).ok_or(Unreadable)?;
    Ok(Ended { at, by: Actor { kind, name: by.to_owned() }, reason })
}

fn ip(bytes: &[u8]) -> Read<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).map_err(|_| Unreadable)
}

fn methods(text: &str) -> Read<Vec<String>> {
    // Nearly every row holds this one.
    if text == r#"["pwd"]"# {
        return Ok(vec![String::from("pwd")]);
    }
    serde_json::from_str(text).map_err(|_| Unreadable)
}

fn attributes(text: &str) -> Read<Attributes> {
    // Text of another program is told by its ends; what lies between is parsed when the application looks at it.
    let object = text.starts_with('{') && text.ends_with('}');
    if object { Ok(Attributes::from_stored(text)) } else { Err(Unreadable) }
}

/// Takes from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk().ok_or(Unreadable)?;
        self.0 = rest;
        Ok(*first)
    }

    fn number(&mut self) -> Read<i64> {
        self.take().map(i64::from_be_bytes)
    }

    fn count(&mut self) -> Read<u64> {
        u64::try_from(self.number()?).map_err(|_| Unreadable)
    }

    fn time(&mut self) -> Read<Timestamp> {
        self.number().map(Timestamp::from_millis)
    }

    fn bytes(&mut self) -> Read<&'a [u8]> {
        let length = u32::from_be_bytes(self.take()?) as usize;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Unreadable)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn text(&mut self) -> Read<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Unreadable)
    }

    fn optional<T>(&mut self, read: impl FnOnce(&str) -> Option<T>) -> Read<Option<T>> {
        match self.text()? {
            "" => Ok(None),
            text => text.strip_prefix('+').and_then(read).map(Some).ok_or(Unreadable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_row_is_told_and_never_read_as_another_one() {
        let user = UserId::new("alice").unwrap();
        let at = Timestamp::from_millis(1_000);
        let session = Session {
            id: SessionId::from_bytes([7; 16]),
            user,
            class: Class::WEB,
            created_at: at,
            authenticated_at: at,
            renewed_at: at,
            last_seen_at: at,
            idle_expires_at: at,
            absolute_expires_at: Timestamp::NEVER,
            client: Client { ip: "::1".parse().ok(), user_agent: Some("a\0b".into()) },
            label: None,
            authentication: Arc::new(Authentication { methods: vec![String::from("otp")], source: String::new() }),
            attributes: Attributes::default(),
            attributes_version: 3,
            state: State::Live,
        };
        let record = Record { session, token_hash: TokenHash::from_bytes([9; 32]) };
        let row = encoded(&record);
        assert_eq!(decoded(record.session.id, &row).unwrap(), (record.clone(), 0));
        for cut in 0..row.len() {
            assert!(decoded(record.session.id, &row[..cut]).is_err(), "cut at {cut}");
        }
        let mut newer = row.clone();
        newer[0] = 2;
        assert!(decoded(record.session.id, &newer).is_err(), "another layout");
        let mut five = record.clone();
        five.session.client.ip = "10.0.0.1".parse().ok();
        let with_ip = encoded(&five);
        assert_eq!(decoded(record.session.id, &with_ip).unwrap(), (five, 0));
        let at = with_ip.windows(8).position(|bytes| bytes == [0, 0, 0, 4, 10, 0, 0, 1]).unwrap();
        let wrong = [&with_ip[..at], &[0, 0, 0, 5, 10, 0, 0, 1, 1], &with_ip[at + 8..]].concat();
        assert!(decoded(record.session.id, &wrong).is_err(), "an address of five bytes");
    }
}
